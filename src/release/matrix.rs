//! Works variants off, several at a time: who goes next, who stops whom, and when.
//!
//! Each variant has a switch of its own below that of the whole. A failure pulls the whole one, unless all are to be
//! finished; one watcher pulls those whose time is up. Nothing is measured or killed here: whoever works looks at the switch.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::progress::Phase;
use crate::sandbox::{Cancel, SandboxError};

/// How variants are worked off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How many at a time.
    pub lanes: NonZeroUsize,
    /// Finish the others where one fails.
    pub keep_going: bool,
    /// How long each may take, from when work on it begins.
    pub timeout: Duration,
}

/// What became of one.
#[derive(Debug)]
pub enum Ended<T, E> {
    /// It is done.
    Passed(T),
    /// It failed.
    Failed(E),
    /// Its time was up; what it said then.
    TimedOut(E),
    /// It was not begun, or stopped, because another failed or somebody asked to stop.
    Skipped,
}

impl<T, E> Ended<T, E> {
    /// Returns where that leaves a variant.
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Passed(_) => Phase::Passed,
            Self::Failed(_) | Self::TimedOut(_) => Phase::Failed,
            Self::Skipped => Phase::Skipped,
        }
    }
}

/// Has `act` work on the numbers below `count` in their order, with the switch of each; tells `ended` what became of one as soon
/// as that is known, and returns what became of each.
///
/// # Errors
/// `Io` where the process has no descriptor left.
pub fn each<T: Send, E: Send>(
    count: usize,
    pace: Pace,
    cancel: &Cancel,
    act: impl Fn(usize, &Cancel) -> Result<T, E> + Sync,
    ended: impl Fn(usize, &Ended<T, E>) + Sync,
) -> Result<Vec<Ended<T, E>>, SandboxError> {
    let whole = cancel.part()?;
    let switches = (0..count).map(|_| whole.part()).collect::<Result<Vec<_>, _>>()?;
    let ends: Vec<Mutex<Ended<T, E>>> = (0..count).map(|_| Mutex::new(Ended::Skipped)).collect();
    let (next, clock) = (AtomicUsize::new(0), Clock::default());
    let lane = || {
        loop {
            let index = next.fetch_add(1, Ordering::SeqCst);
            let (Some(switch), false) = (switches.get(index), whole.is_cancelled()) else { return };
            clock.begin(index, pace.timeout);
            let result = act(index, switch);
            let is_late = clock.end(index);
            let end = match result {
                Ok(done) => Ended::Passed(done),
                Err(error) if is_late => Ended::TimedOut(error),
                // What another one's failure does to it is not its own.
                Err(_) if whole.is_cancelled() => Ended::Skipped,
                Err(error) => Ended::Failed(error),
            };
            if matches!(end, Ended::Failed(_) | Ended::TimedOut(_)) && !pace.keep_going {
                whole.cancel();
            }
            ended(index, &end);
            *ends[index].lock().unwrap_or_else(PoisonError::into_inner) = end;
        }
    };
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| clock.watch(&switches));
        let lanes: Vec<_> = (0..pace.lanes.get().min(count)).map(|_| scope.spawn(lane)).collect();
        let over: Vec<_> = lanes.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        clock.stop();
        let panics = over.into_iter().chain([watcher.join()]);
        if let Some(panic) = panics.into_iter().find_map(Result::err) {
            std::panic::resume_unwind(panic);
        }
    });
    Ok(ends.into_iter().map(|end| end.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
}

/// Whose time is up when.
#[derive(Debug, Default)]
struct Clock {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: Vec<(usize, Instant)>,
    late: Vec<usize>,
    over: bool,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, index: usize, timeout: Duration) {
        // A time that no clock can show is never up.
        if let Some(until) = Instant::now().checked_add(timeout) {
            self.lock().running.push((index, until));
            self.wake.notify_all();
        }
    }

    /// Tells whether its time was up.
    fn end(&self, index: usize) -> bool {
        let mut state = self.lock();
        state.running.retain(|(running, _)| *running != index);
        state.late.contains(&index)
    }

    fn stop(&self) {
        self.lock().over = true;
        self.wake.notify_all();
    }

    fn watch(&self, switches: &[Cancel]) {
        let mut state = self.lock();
        while !state.over {
            let now = Instant::now();
            let (late, left): (Vec<_>, Vec<_>) = state.running.iter().partition(|(_, until)| *until <= now);
            for (index, _) in late {
                state.late.push(index);
                switches[index].cancel();
            }
            let patience = left.iter().map(|(_, until)| until.saturating_duration_since(now)).min();
            state.running = left;
            state = match patience {
                Some(patience) => self.wake.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0,
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(lanes: usize, keep_going: bool) -> Pace {
        Pace { lanes: NonZeroUsize::new(lanes).expect("a number"), keep_going, timeout: Duration::from_mins(1) }
    }

    fn until_stopped(switch: &Cancel) -> Result<usize, &'static str> {
        while !switch.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Err("stopped")
    }

    fn words<T, E>(ends: &[Ended<T, E>]) -> Vec<&'static str> {
        let word = |end: &Ended<T, E>| match end {
            Ended::Passed(_) => "passed",
            Ended::Failed(_) => "failed",
            Ended::TimedOut(_) => "late",
            Ended::Skipped => "skipped",
        };
        ends.iter().map(word).collect()
    }

    #[test]
    fn no_more_run_at_a_time_than_there_are_lanes_and_in_their_order() {
        let (running, most, order) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
        let ends = each(
            7,
            pace(3, false),
            &Cancel::new().expect("a switch"),
            |index, _| {
                order.lock().expect("no panic").push(index);
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
                running.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, ()>(index)
            },
            |_, _| (),
        );
        assert_eq!(words(&ends.expect("ran")), ["passed"; 7]);
        assert_eq!(most.into_inner(), 3);
        let order = order.into_inner().expect("no panic");
        assert!(order.iter().enumerate().all(|(at, index)| at.abs_diff(*index) < 3), "{order:?}");
    }

    #[test]
    fn the_first_failure_stops_what_runs_and_what_would() {
        let act = |index: usize, switch: &Cancel| if index == 1 { Err("broken") } else { until_stopped(switch) };
        let told = Mutex::new(Vec::new());
        let tell = |index: usize, end: &Ended<_, _>| {
            let word = words(std::slice::from_ref(end))[0];
            told.lock().expect("no panic").push((index, word));
        };
        let ends = each(4, pace(2, false), &Cancel::new().expect("a switch"), act, tell).expect("ran");
        assert_eq!(words(&ends), ["skipped", "failed", "skipped", "skipped"]);
        // What was never begun is not told of.
        let mut told = told.into_inner().expect("no panic");
        told.sort_unstable();
        assert_eq!(told, [(0, "skipped"), (1, "failed")]);
    }

    #[test]
    fn with_keep_going_a_failure_stops_nobody() {
        let act = |index: usize, _: &Cancel| if index == 1 { Err("broken") } else { Ok(index) };
        let ends = each(4, pace(2, true), &Cancel::new().expect("a switch"), act, |_, _| ()).expect("ran");
        assert_eq!(words(&ends), ["passed", "failed", "passed", "passed"]);
    }

    #[test]
    fn whose_time_is_up_is_stopped_alone_and_named() {
        let act = |index: usize, switch: &Cancel| if index == 0 { until_stopped(switch) } else { Ok(index) };
        let pace = Pace { timeout: Duration::from_millis(30), ..pace(1, true) };
        let ends = each(3, pace, &Cancel::new().expect("a switch"), act, |_, _| ()).expect("ran");
        assert_eq!(words(&ends), ["late", "passed", "passed"]);
        let ends = each(3, Pace { keep_going: false, ..pace }, &Cancel::new().expect("a switch"), act, |_, _| ())
            .expect("ran");
        assert_eq!(words(&ends), ["late", "skipped", "skipped"]);
    }

    #[test]
    fn whoever_asks_to_stop_stops_all() {
        let cancel = Cancel::new().expect("a switch");
        let act = |index: usize, switch: &Cancel| {
            if index == 1 {
                cancel.cancel();
            }
            until_stopped(switch)
        };
        let ends = each(5, pace(2, true), &cancel, act, |_, _| ()).expect("ran");
        assert_eq!(words(&ends), ["skipped"; 5]);
    }
}
