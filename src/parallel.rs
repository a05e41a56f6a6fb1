//! Two processors for a large batch: for what is looked at without an effect, and for effects whose order does not matter.
//! A small batch stays on the worker's own thread.

use crate::limits::PARALLEL_ENTRIES_MIN;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// `work` of each item; the results are in order.
pub fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let all = |items: &[T]| items.iter().map(&work).collect::<Vec<R>>();
    if items.len() < PARALLEL_ENTRIES_MIN {
        return all(items);
    }
    let (first, second) = items.split_at(items.len() / 2);
    let (second, mut results) = both(items.len(), || all(second), || all(first));
    results.extend(second);
    results
}

/// [`map`] for work that may fail: the first failure in the order of the items. The others were tried too.
pub fn try_map<T: Sync, R: Send, E: Send>(items: &[T], work: impl Fn(&T) -> Result<R, E> + Sync) -> Result<Vec<R>, E> {
    map(items, work).into_iter().collect()
}

/// Does two things of which one takes its time for so many entries: `beside` on a thread of its own when they are many.
pub fn both<A: Send, B>(entries: usize, beside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    if entries < PARALLEL_ENTRIES_MIN {
        return (beside(), here());
    }
    // Whoever comes first takes it: where no thread can be had that is this one.
    let beside = Mutex::new(Some(beside));
    let run = || beside.lock().unwrap_or_else(PoisonError::into_inner).take().map(|beside| beside());
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("beside".into()).spawn_scoped(scope, run);
        let here = here();
        let ran = thread.ok().and_then(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        (ran.or_else(run).expect("it was run once, by one of the two"), here)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn results_are_in_order_and_many_items_are_worth_a_thread() {
        for count in [0, 1, 2, PARALLEL_ENTRIES_MIN - 1, PARALLEL_ENTRIES_MIN, PARALLEL_ENTRIES_MIN + 1] {
            let items: Vec<usize> = (0..count).collect();
            let results = map(&items, |item| (item * 2, thread::current().id()));
            assert!(results.iter().zip(&items).all(|((double, _), item)| *double == item * 2));
            let threads: HashSet<_> = results.iter().map(|(_, thread)| *thread).collect();
            assert!(threads.len() <= 1 + usize::from(count >= PARALLEL_ENTRIES_MIN), "{count} items");
        }
    }

    #[test]
    fn the_first_failure_is_given() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(try_map(&items, |item| if *item < 90 { Ok(*item) } else { Err(*item) }), Err(90));
        assert_eq!(try_map(&items, |item| Ok::<_, ()>(*item)), Ok(items.clone()));
    }

    #[test]
    fn both_are_done_and_only_many_entries_are_worth_a_thread() {
        let here = thread::current().id();
        for (entries, on_its_own) in [(0, false), (PARALLEL_ENTRIES_MIN - 1, false), (PARALLEL_ENTRIES_MIN, true)] {
            let mut count = 0;
            let beside = || {
                count += 1;
                thread::current().id()
            };
            let (beside, value) = both(entries, beside, || 7);
            assert_eq!((beside != here, value, count), (on_its_own, 7, 1), "{entries} entries");
        }
    }
}
