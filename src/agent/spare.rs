//! A module's process that is started ahead of the operation that probably comes next, while the one before it runs: it
//! waits for its parameters, and does nothing without them. Starting is half of what a small operation takes.

use super::execute::Executor;
use crate::modules;
use std::path::PathBuf;
use std::process::Child;
use std::sync::mpsc::{Receiver, SendError, Sender, channel};

/// See the module docs.
#[derive(Default)]
pub struct Spare {
    /// The module of the process that was asked for and is not taken yet.
    module: Option<String>,
    starter: Option<Starter>,
}

impl Spare {
    /// Starts a process of this module, if it is one, and returns at once.
    pub fn start(&mut self, executor: &Executor, module: &str) {
        if modules::by_name(module).is_none() {
            return;
        }
        self.discard();
        let starter = self.starter.get_or_insert_with(Starter::new);
        let request = (executor.program.clone(), module.to_owned());
        self.module = starter.requests.send(request).is_ok().then(|| module.to_owned());
    }

    /// The process, if it is one of this module. One that could not be started is started again by who needs it, and the
    /// error is told then.
    pub fn take(&mut self, module: &str) -> Option<Child> {
        if self.module.as_deref() != Some(module) {
            self.discard();
            return None;
        }
        self.receive()
    }

    fn receive(&mut self) -> Option<Child> {
        self.module.take()?;
        self.starter.as_ref()?.children.recv().ok()?.ok()
    }

    fn discard(&mut self) {
        if let Some(child) = self.receive() {
            end(child);
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.discard();
    }
}

/// A thread that starts processes: who starts one waits until its program is loaded, and has better things to do. It
/// lives as long as they do, because they end with the thread that started them.
struct Starter {
    requests: Sender<(PathBuf, String)>,
    children: Receiver<std::io::Result<Child>>,
}

impl Starter {
    fn new() -> Starter {
        let (requests, asked) = channel::<(PathBuf, String)>();
        let (started, children) = channel();
        std::thread::spawn(move || {
            // What is started ahead shall not hold up what runs, which has the lowest priority. This thread's alone; that
            // fails for nobody.
            let _ = rustix::process::nice(19);
            for (program, module) in asked {
                if let Err(SendError(Ok(child))) = started.send(Executor::spawn(&program, &module)) {
                    end(child);
                }
            }
        });
        Starter { requests, children }
    }
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}
