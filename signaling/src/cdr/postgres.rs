//! Records in a table of a PostgreSQL server, which many hosts may share.

use std::error::Error as _;
use std::future::Future;
use std::slice;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, NoTls};

use super::columns::{COLUMNS, Kind, row};
use super::cursor::Place;
use super::sink::{Entry, Refused, Sink, SinkFault};
use crate::config::PostgresConfig;
use crate::radius::SharedSecret;

/// How long the server may take: to be connected to, to carry out a statement, and to acknowledge.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long we wait for an answer of any kind: longer, so that a server which is only slow can say so. A server that is
/// frozen acknowledges like one that is well, and says nothing. In tests nobody waits for that long.
const SILENCE: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 12_000 });

/// A sink that is a table.
pub(super) struct Postgres {
    config: PostgresConfig,
    link: Option<Link>,
    insert: String,
}

/// A connection, and what drives it while the sink waits for it.
struct Link {
    client: Client,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

/// Why records were not inserted.
enum Unwritten {
    /// One of them is not to the server's liking, which is well otherwise.
    Refused(String),
    Away(SinkFault),
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
        Postgres { config: config.clone(), link: None, insert }
    }

    fn connect(&self) -> Result<Link, SinkFault> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(self.connected()) {
            Ok(client) => Ok(Link { client, runtime: Some(runtime) }),
            Err(fault) => {
                runtime.shutdown_background();
                Err(fault)
            }
        }
    }

    async fn connected(&self) -> Result<Client, SinkFault> {
        let PostgresConfig { host, port, database, user, password_file, table } = &self.config;
        let mut config = tokio_postgres::Config::new();
        config.host(host).port(*port).dbname(database).user(user).application_name("moorline");
        config.connect_timeout(PATIENCE).tcp_user_timeout(PATIENCE);
        // A server that is gone after it has acknowledged a question is noticed too.
        config.keepalives_idle(PATIENCE).keepalives_interval(PATIENCE).keepalives_retries(2);
        // That the table is there is no news.
        config.options(format!("-c statement_timeout={} -c client_min_messages=warning", PATIENCE.as_millis()));
        if let Some(file) = password_file {
            config.password(SharedSecret::read(file).map_err(|fault| SinkFault(fault.to_string()))?.bytes());
        }
        let (client, connection) = answered(config.connect(NoTls)).await?;
        // It ends with the client, or with what drives it.
        tokio::spawn(connection);
        let columns = COLUMNS.map(|(name, kind)| match name {
            "id" => "id text PRIMARY KEY".to_owned(),
            _ => format!("{name} {}", sql_type(kind)),
        });
        let create = format!("CREATE TABLE IF NOT EXISTS {table} ({})", columns.join(", "));
        answered(client.batch_execute(&create)).await?;
        // A table of a version before has fewer columns.
        let known = answered(client.prepare(&format!("SELECT * FROM {table} LIMIT 0"))).await?;
        let lacks = |name: &str| known.columns().iter().all(|column| column.name() != name);
        for (name, kind) in COLUMNS.iter().filter(|(name, _)| lacks(name)) {
            let add = format!("ALTER TABLE {table} ADD COLUMN {name} {}", sql_type(*kind));
            answered(client.batch_execute(&add)).await?;
        }
        Ok(client)
    }
}

impl Sink for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn open(&mut self) -> Result<(), SinkFault> {
        self.link = Some(self.connect()?);
        Ok(())
    }

    fn prepare(&mut self, _place: &mut Place) -> Result<(), SinkFault> {
        if self.link.is_none() { self.open() } else { Ok(()) }
    }

    fn take(&mut self, entries: &[Entry], _place: &mut Place) -> Result<Vec<Refused>, SinkFault> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.connect()?,
        };
        let refused = link.insert(&self.insert, entries)?;
        // After a failure there is none, and the next records make another connection.
        self.link = Some(link);
        Ok(refused)
    }
}

impl Link {
    fn insert(&mut self, insert: &str, entries: &[Entry]) -> Result<Vec<Refused>, SinkFault> {
        let client = &mut self.client;
        let Some(runtime) = &self.runtime else { return Ok(Vec::new()) };
        runtime.block_on(async {
            match insert_together(client, insert, entries).await {
                Ok(()) => return Ok(Vec::new()),
                Err(Unwritten::Away(fault)) => return Err(fault),
                // One of them spoils the others: each for itself.
                Err(Unwritten::Refused(_)) => {}
            }
            let mut refused = Vec::new();
            for (index, entry) in entries.iter().enumerate() {
                match insert_together(client, insert, slice::from_ref(entry)).await {
                    Ok(()) => {}
                    Err(Unwritten::Away(fault)) => return Err(fault),
                    Err(Unwritten::Refused(why)) => refused.push(Refused { index, why }),
                }
            }
            Ok(refused)
        })
    }
}

impl Drop for Link {
    /// Nobody waits for what hangs there, such as a name that is looked up.
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// Inserts all of these, or none.
async fn insert_together(client: &mut Client, insert: &str, entries: &[Entry]) -> Result<(), Unwritten> {
    let transaction = answered(client.transaction()).await?;
    let statement = answered(transaction.prepare(insert)).await?;
    for entry in entries {
        // No text of PostgreSQL's has a zero in it.
        let row: Vec<Option<String>> =
            row(&entry.record).into_iter().map(|value| value.map(|value| value.replace('\0', "\u{fffd}"))).collect();
        let values: Vec<&(dyn ToSql + Sync)> = row.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        answered(transaction.execute(&statement, &values)).await?;
    }
    answered(transaction.commit()).await
}

/// An answer of the server's, if it comes.
async fn answered<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Unwritten> {
    match timeout(SILENCE, answer).await {
        Ok(answer) => answer.map_err(Unwritten::from),
        Err(_) => Err(Unwritten::Away(SinkFault(format!("it has not answered for {SILENCE:?}")))),
    }
}

impl From<Error> for Unwritten {
    /// Whether a fault is the record's is told by its class (PostgreSQL's appendix A): data that is wrong or too long,
    /// constraints, views that exclude it, limits of the program, and what a trigger raises.
    fn from(problem: Error) -> Unwritten {
        let refused = problem
            .code()
            .is_some_and(|code| ["22", "23", "44", "54", "P0"].iter().any(|class| code.code().starts_with(class)));
        // Its own words say little; those of the server, or of the system, are behind them.
        let cause = problem.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        let text = format!("{problem}{cause}");
        if refused { Unwritten::Refused(text) } else { Unwritten::Away(SinkFault(text)) }
    }
}

impl From<Unwritten> for SinkFault {
    fn from(unwritten: Unwritten) -> SinkFault {
        match unwritten {
            Unwritten::Refused(why) => SinkFault(why),
            Unwritten::Away(fault) => fault,
        }
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
