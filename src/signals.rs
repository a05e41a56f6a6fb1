//! SIGTERM and SIGINT end a program at the next point where nothing is half done. SIGHUP has it read the files again that
//! are parsed when they change.

use crate::error::{ExitClass, ProgramError};
use crate::reload;
use crate::wake::Stop;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Asks `stop` when a signal to end comes.
pub fn stop_on_signals(stop: &Stop) -> Result<(), ProgramError> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]);
    let mut signals =
        signals.map_err(|e| ProgramError::new(ExitClass::TemporaryFailure, format!("handle signals: {e}")))?;
    let stop = stop.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal != SIGHUP {
                return stop.ask();
            }
            reload::reread_all();
            log::info!("SIGHUP: keys and lists are read again when they are used next");
        }
    });
    Ok(())
}
