//! Records in a table of a PostgreSQL server, which many hosts may share.

use std::error::Error;
use std::time::Duration;

use postgres::types::ToSql;
use postgres::{Client, NoTls};

use super::columns::{COLUMNS, Kind, row};
use super::cursor::Place;
use super::sink::{Entry, Sink, SinkFault};
use crate::config::PostgresConfig;
use crate::radius::SharedSecret;

/// How long the server may take: to be connected to, to answer, and to acknowledge.
const PATIENCE: Duration = Duration::from_secs(10);

/// A sink that is a table.
pub(super) struct Postgres {
    config: PostgresConfig,
    client: Option<Client>,
    insert: String,
}

impl Postgres {
    pub(super) fn new(config: &PostgresConfig) -> Postgres {
        let names = COLUMNS.map(|(name, _)| name).join(", ");
        let values: Vec<String> = COLUMNS
            .iter()
            .enumerate()
            .map(|(index, (_, kind))| format!("${}::text::{}", index + 1, sql_type(*kind)))
            .collect();
        let table = &config.table;
        let insert =
            format!("INSERT INTO {table} ({names}) VALUES ({}) ON CONFLICT (id) DO NOTHING", values.join(", "));
        Postgres { config: config.clone(), client: None, insert }
    }

    fn connect(&self) -> Result<Client, SinkFault> {
        let PostgresConfig { host, port, database, user, password_file, table } = &self.config;
        let mut config = postgres::Config::new();
        config.host(host).port(*port).dbname(database).user(user).application_name("moorline");
        config.connect_timeout(PATIENCE).tcp_user_timeout(PATIENCE);
        // A server that is gone after it has acknowledged a question is noticed too.
        config.keepalives_idle(PATIENCE).keepalives_interval(PATIENCE).keepalives_retries(2);
        config.options(&format!("-c statement_timeout={}", PATIENCE.as_millis()));
        if let Some(file) = password_file {
            config.password(SharedSecret::read(file).map_err(|fault| SinkFault(fault.to_string()))?.bytes());
        }
        let mut client = config.connect(NoTls)?;
        let columns = COLUMNS.map(|(name, kind)| match name {
            "id" => "id text PRIMARY KEY".to_owned(),
            _ => format!("{name} {}", sql_type(kind)),
        });
        client.batch_execute(&format!("CREATE TABLE IF NOT EXISTS {table} ({})", columns.join(", ")))?;
        // A table of a version before has fewer columns.
        let known = client.prepare(&format!("SELECT * FROM {table} LIMIT 0"))?;
        let lacks = |name: &str| known.columns().iter().all(|column| column.name() != name);
        for (name, kind) in COLUMNS.iter().filter(|(name, _)| lacks(name)) {
            client.batch_execute(&format!("ALTER TABLE {table} ADD COLUMN {name} {}", sql_type(*kind)))?;
        }
        Ok(client)
    }
}

impl Sink for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn prepare(&mut self, _place: &mut Place) -> Result<(), SinkFault> {
        self.client = Some(self.connect()?);
        Ok(())
    }

    fn take(&mut self, entries: &[Entry], _place: &mut Place) -> Result<(), SinkFault> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        let mut transaction = client.transaction()?;
        let statement = transaction.prepare(&self.insert)?;
        for entry in entries {
            let row = row(&entry.record);
            let values: Vec<&(dyn ToSql + Sync)> = row.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
            transaction.execute(&statement, &values)?;
        }
        transaction.commit()?;
        // After a failure there is none, and the next records make another connection.
        self.client = Some(client);
        Ok(())
    }
}

fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Number => "bigint",
        Kind::Real => "double precision",
        Kind::Time => "timestamptz",
    }
}

impl From<postgres::Error> for SinkFault {
    fn from(problem: postgres::Error) -> SinkFault {
        // Its own words say little; those of the server, or of the system, are behind them.
        let cause = problem.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        SinkFault(format!("{problem}{cause}"))
    }
}
