//! The thread that runs the I/O of all connections to brokers and databases; requests block on it, each with a time limit.

use std::io;
use std::sync::{Mutex, PoisonError};
use tokio::runtime::{Builder, Handle};

/// Its handle; the thread is started at the first call.
pub fn handle() -> io::Result<Handle> {
    static IO: Mutex<Option<Handle>> = Mutex::new(None);
    let mut io = IO.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = io.as_ref() {
        return Ok(handle.clone());
    }
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new().name("io".into());
    thread.spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(io.insert(handle).clone())
}
