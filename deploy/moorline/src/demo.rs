//! `moorline demo`: both processes on loopback, and calls through them that verify every packet.

mod progress;
mod stage;
mod verdict;

use std::io::Error;
use std::process::ExitCode;
use std::time::Duration;

use moorline_bench::load::{self, LoadError, Progress, Report};
use moorline_bench::scrape::{self, Metrics};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::Outcome;
use crate::cli::DemoArgs;
use crate::supervise::Kept;
use progress::Bar;
use stage::Stage;
use verdict::{LeftOver, Verdict};

/// How long both processes may take until calls can be placed.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// How long the last calls' dialogs and sessions may take to go after their BYE.
const END_PATIENCE: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(50);

type Failure = Box<dyn std::error::Error>;

pub(crate) fn run(args: &DemoArgs) -> Outcome {
    let stage = Stage::new(args)?;
    // The children end with the thread that made them: this one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let verdict = runtime.block_on(perform(&stage));
    // A load that was interrupted is not waited for.
    runtime.shutdown_background();
    let verdict = verdict.map_err(|error| format!("{error}\n{}", stage.log_tail()))?;
    print!("{verdict}");
    if verdict.is_good() {
        return Ok(ExitCode::SUCCESS);
    }
    eprint!("{}", stage.log_tail());
    Ok(ExitCode::FAILURE)
}

async fn perform(stage: &Stage) -> Result<Verdict, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    eprintln!("starting signaling on {} and media in {}", stage.plan().sbc, stage.range());
    let mut media = Kept::start("media", stage.recipe());
    let mut signaling = Kept::start("signaling", stage.recipe());
    let verdict = tokio::select! {
        verdict = place_calls(stage) => verdict,
        _ = terminate.recv() => Err("stopped by SIGTERM".into()),
        _ = interrupt.recv() => Err("stopped by SIGINT".into()),
        error = media.failed() => Err(error.into()),
        error = signaling.failed() => Err(error.into()),
    };
    signaling.stop().await;
    media.stop().await;
    verdict
}

async fn place_calls(stage: &Stage) -> Result<Verdict, Failure> {
    until_ready(stage).await?;
    let report = load(stage).await??;
    let left = left_over(stage).await?;
    let media = fetch(stage.media_admin()).await?;
    Ok(Verdict::new(report, &media, left))
}

/// Waits until signaling has the media process's connection.
async fn until_ready(stage: &Stage) -> Result<(), Failure> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let problem = match fetch(stage.signaling_admin()).await {
            Ok(metrics) if metrics.value("moorline_sip_media_connected", &[]) == Some(1.0) => return Ok(()),
            Ok(_) => "signaling has no connection to media".to_owned(),
            Err(error) => format!("signaling's admin address {}: {error}", stage.signaling_admin()),
        };
        if Instant::now() >= deadline {
            return Err(format!("not ready within {} s: {problem}", START_PATIENCE.as_secs()).into());
        }
        sleep(POLL).await;
    }
}

/// Runs the load on a thread of its own, and shows how far it is.
async fn load(stage: &Stage) -> Result<Result<Report, LoadError>, oneshot::error::RecvError> {
    let plan = stage.plan().clone();
    let (said, mut news) = mpsc::unbounded_channel::<Progress>();
    let (done, report) = oneshot::channel();
    std::thread::spawn(move || {
        // The other side is gone when the demo was interrupted.
        let report = load::run(&plan, &mut |progress| _ = said.send(*progress));
        drop(said);
        let _interrupted = done.send(report);
    });
    let mut bar = Bar::new(stage.plan().expected());
    while let Some(progress) = news.recv().await {
        bar.show(&progress);
    }
    bar.finish();
    report.await
}

/// What is left after the last call: nothing, within a moment.
async fn left_over(stage: &Stage) -> Result<LeftOver, Error> {
    let deadline = Instant::now() + END_PATIENCE;
    loop {
        let (signaling, media) = (fetch(stage.signaling_admin()).await?, fetch(stage.media_admin()).await?);
        let left = LeftOver::new(&signaling, &media);
        if left.is_nothing() || Instant::now() >= deadline {
            return Ok(left);
        }
        sleep(POLL).await;
    }
}

async fn fetch(admin: std::net::SocketAddr) -> Result<Metrics, Error> {
    // It blocks, and the children are watched from this thread.
    tokio::task::spawn_blocking(move || scrape::fetch(admin, "/metrics")).await.map_err(Error::other)?
}
