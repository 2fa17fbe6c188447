//! The event loop: the only reader of the clock, and the only owner of the worker.

use std::future::{Future, poll_fn};
use std::pin::Pin;

use moorline_b2bua::locate::Failure;
use moorline_b2bua::{Input, MediaInput, Output, Worker};
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::clock::{now_ns, until};
use crate::media_client::{MediaEvent, RequestQueue};
use crate::metrics::{Snapshot, Statistics};
use crate::resolver::{Answered, Questions};
use crate::transport::{Datagrams, UdpTransport};

/// Where the admin server asks for a snapshot.
pub(crate) type Scrape = oneshot::Sender<Snapshot>;

/// Drives the worker: every input with the time it came at, every output carried out before the next input.
pub(crate) struct EventLoop {
    worker: Worker,
    transport: UdpTransport,
    media: mpsc::Receiver<MediaEvent>,
    /// The current control connection; `None` while there is none.
    requests: Option<RequestQueue>,
    questions: Questions,
    answers: mpsc::Receiver<Answered>,
    scrapes: mpsc::Receiver<Scrape>,
    statistics: Statistics,
}

/// What ended a wait.
enum Wake {
    Readable(usize),
    Media(MediaEvent),
    Dns(Answered),
    Scrape(Scrape),
    Timer,
    Stop,
}

impl EventLoop {
    pub(crate) fn new(
        worker: Worker,
        transport: UdpTransport,
        media: mpsc::Receiver<MediaEvent>,
        (questions, answers): (Questions, mpsc::Receiver<Answered>),
        scrapes: mpsc::Receiver<Scrape>,
    ) -> EventLoop {
        EventLoop {
            worker,
            transport,
            media,
            requests: None,
            questions,
            answers,
            scrapes,
            statistics: Statistics::new(),
        }
    }

    /// Serves until `stop` is ready. Calls are left as they are, to whoever comes next.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut datagrams = Datagrams::new();
        loop {
            match self.wait(stop.as_mut()).await {
                Wake::Readable(listener) => self.receive(&mut datagrams, listener),
                Wake::Media(event) => self.media_event(event),
                Wake::Dns((number, answer)) => self.handle(Input::Dns { number, answer }),
                // A scraper that went away meanwhile needs no answer.
                Wake::Scrape(scrape) => drop(scrape.send(self.snapshot())),
                Wake::Timer => {}
                Wake::Stop => return,
            }
            // After every turn, so that no flood of inputs holds the timers up.
            let now = now_ns();
            if self.worker.next_timeout().is_some_and(|at| at <= now) {
                self.handle(Input::Timeout);
            }
        }
    }

    async fn wait(&mut self, stop: Pin<&mut impl Future<Output = ()>>) -> Wake {
        let deadline = self.worker.next_timeout();
        let transport = &mut self.transport;
        tokio::select! {
            () = stop => Wake::Stop,
            listener = poll_fn(|cx| transport.poll_readable(cx)) => Wake::Readable(listener),
            Some(event) = self.media.recv() => Wake::Media(event),
            Some(answered) = self.answers.recv() => Wake::Dns(answered),
            Some(scrape) = self.scrapes.recv() => Wake::Scrape(scrape),
            () = sleep(deadline.map(until).unwrap_or_default()), if deadline.is_some() => Wake::Timer,
        }
    }

    fn receive(&mut self, batch: &mut Datagrams, listener: usize) {
        batch.start(listener);
        while let Some((source, bytes)) = self.transport.receive(batch) {
            let flow = Flow { listener, transport: Transport::Udp, remote: source };
            self.worker.handle(now_ns(), Input::Message { flow, bytes });
            self.carry_out();
        }
    }

    fn media_event(&mut self, event: MediaEvent) {
        let input = match event {
            MediaEvent::Connected(hello, requests) => {
                self.requests = Some(requests);
                self.statistics.media_connections += 1;
                MediaInput::Connected(hello)
            }
            // Late words of a connection that was let go: the worker has been told that it is gone.
            _ if self.requests.is_none() => return,
            MediaEvent::Reply(request, reply) => MediaInput::Reply { request, reply },
            MediaEvent::Event(event) => MediaInput::Event(event),
            MediaEvent::Disconnected => {
                self.requests = None;
                MediaInput::Disconnected
            }
        };
        self.handle(Input::Media(input));
    }

    fn handle(&mut self, input: Input<'_>) {
        self.worker.handle(now_ns(), input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.worker.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => self.transport.send(flow.listener, flow.remote, &bytes),
                Output::Observe(observation) => self.statistics.observe(now_ns(), observation),
                Output::Dns(query) => {
                    let number = query.number;
                    if !self.questions.put(query) {
                        let answer = Err(Failure::Unavailable);
                        self.worker.handle(now_ns(), Input::Dns { number, answer });
                    }
                }
                // There is one worker, and nowhere to write to.
                Output::Tell(_) | Output::Store { .. } => {}
                // There is nobody to ask: the worker refuses the request by itself.
                Output::Verify { .. } => {}
                Output::Media { request, body } => {
                    let full = self.requests.as_ref().is_some_and(|requests| !requests.push(request, body));
                    if full {
                        // The rest of this batch goes nowhere, as it would had the connection broken.
                        self.requests = None;
                        self.statistics.media_overflows += 1;
                        self.worker.handle(now_ns(), Input::Media(MediaInput::Disconnected));
                    }
                }
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            counters: self.worker.counters(),
            statistics: self.statistics.clone(),
            unsent: self.transport.unsent,
            media_connected: self.requests.is_some(),
        }
    }
}
