//! A kill, and another one while that is recovered from.

use super::common::is_full;
use super::common::score::Score;
use super::matrix::{Fault, Matrix};
use super::subject::ALL;
use super::{FILES, common};

/// Pairs in which the second kill hit, of all subjects together, and unless all are asked for.
const PAIRS: (usize, usize) = (500, 64);

#[test]
fn a_second_kill_during_recovery_changes_nothing() {
    let wanted = (if is_full() { PAIRS.0 } else { PAIRS.1 }).div_ceil(ALL.len());
    let seed = common::seed("MIG_FAULTS_SEED");
    let mut score = Score::begin("kill: again during recovery").with_seed(seed);
    let mut random = common::Random::new(seed);
    let mut found = Vec::new();
    for subject in ALL {
        let mut matrix = match Matrix::new(subject, Fault::Kill, FILES) {
            Ok(matrix) => matrix,
            Err(why) => return score.skip(&why),
        };
        let points = matrix.points();
        let mut hits = 0;
        // A second point may lie beyond what is left to do.
        for _ in 0..wanted * 20 {
            let mut pick = || &points[random.below(points.len() as u64) as usize];
            if let Some(violations) = matrix.try_pair(pick(), pick()) {
                found.extend(violations);
                hits += 1;
            }
            if hits == wanted {
                break;
            }
        }
        score.add_runs(hits);
    }
    score.end(&found, "pairs");
}
