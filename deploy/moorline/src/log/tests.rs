use std::sync::{Condvar, Mutex};

use super::*;

/// What takes lines, or keeps whoever brings them waiting, or refuses them.
#[derive(Clone, Default)]
struct Reader(Arc<(Mutex<Read>, Condvar)>);

#[derive(Default)]
struct Read {
    text: String,
    waits: bool,
    refuses: u32,
}

impl Reader {
    fn waiting() -> Reader {
        let reader = Reader::default();
        reader.change(|read| read.waits = true);
        reader
    }

    fn change(&self, change: impl FnOnce(&mut Read)) {
        change(&mut self.0.0.lock().expect("no panic"));
        self.0.1.notify_all();
    }

    fn text(&self) -> String {
        self.0.0.lock().expect("no panic").text.clone()
    }
}

impl Write for Reader {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let read = self.0.0.lock().expect("no panic");
        let mut read = self.0.1.wait_while(read, |read| read.waits).expect("no panic");
        if read.refuses > 0 {
            read.refuses -= 1;
            let kind =
                if read.refuses.is_multiple_of(2) { io::ErrorKind::WouldBlock } else { io::ErrorKind::BrokenPipe };
            return Err(kind.into());
        }
        // As a pipe does, now and then.
        let length = text.len().min(20);
        read.text += std::str::from_utf8(&text[..length]).expect("text");
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn say(log: &Log, text: &str) {
    log.lines.clone().write_all(text.as_bytes()).expect("it is never refused");
}

#[test]
fn who_logs_waits_for_nobody_and_what_was_lost_is_said_in_its_place() {
    let reader = Reader::waiting();
    let mut log = Log::to(reader.clone());
    let lost = log.lost_lines();
    for number in 0..ROOM + 100 {
        say(&log, &format!("line {number} of many that nobody reads\n"));
    }
    // One may be on its way.
    assert!((99..=100).contains(&lost()), "{}", lost());
    reader.change(|read| read.waits = false);
    assert!(log.end());
    let text = reader.text();
    let kept = ROOM + 100 - usize::try_from(lost()).expect("few");
    assert_eq!(text.lines().count(), kept + 1);
    assert!(text.contains(&format!("line {} of many that nobody reads\n", kept - 1)));
    let last = text.lines().last().expect("a line");
    assert!(last.contains(&format!(" WARN moorline::log: {} lines were lost", lost())), "{last}");
}

#[test]
fn the_end_waits_for_lines_but_not_for_ever() {
    let reader = Reader::waiting();
    let mut log = Log::to(reader.clone());
    say(&log, "one\n");
    assert!(!log.end());
    let mut log = Log::to(reader.clone());
    (0..ROOM + 2).for_each(|_| say(&log, "two\n"));
    assert!(!log.end(), "there is no room for its own end either");
    reader.change(|read| read.waits = false);
    let mut log = Log::to(reader);
    say(&log, "three\n");
    assert!(log.end());
    assert!(log.end(), "once is enough");
}

#[test]
fn lines_that_are_refused_are_counted_and_those_after_them_written() {
    let reader = Reader::default();
    // The second time it is only not now.
    reader.change(|read| read.refuses = 2);
    let mut log = Log::to(reader.clone());
    say(&log, "one\n");
    say(&log, "two\n");
    assert!(log.end());
    let text = reader.text();
    assert!(text.starts_with("two\n") && text.contains(" 1 lines were lost"), "{text}");
    assert_eq!(log.lost_lines()(), 1);
}

#[test]
fn a_panic_takes_the_lines_before_it_along() {
    let reader = Reader::default();
    let (logs, lines) = (reader.clone(), Arc::new(OnceLock::new()));
    let told = Arc::clone(&lines);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Some(lines) = told.get() {
            say_panic(NonBlocking::clone(lines), panic);
        }
    }));
    let thread = thread::Builder::new().name("worker-7".into()).spawn(move || {
        let log = Log::to(logs);
        lines.get_or_init(|| log.lines.clone());
        say(&log, "before\n");
        panic!("out of luck");
    });
    assert!(thread.expect("it starts").join().is_err());
    std::panic::set_hook(before);
    let text = reader.text();
    assert!(text.starts_with("before\n"), "{text}");
    assert!(
        text.contains("ERROR moorline::log: thread worker-7 panicked at ") && text.contains("out of luck"),
        "{text}"
    );
}
