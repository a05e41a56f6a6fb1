//! A proxy between a client and a server, which cuts their connection after a given byte.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// A cut that is still to come: which way, and after how many more bytes.
type Cut = Arc<Mutex<Option<(Way, usize)>>>;

/// See the module docs. Its threads end with the connections, and with the process.
pub struct Proxy {
    /// Where clients connect to, on 127.0.0.1.
    pub port: u16,
    cut: Cut,
}

impl Proxy {
    /// One in front of a server on this port.
    pub fn start(server: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (port, cut) = (listener.local_addr().unwrap().port(), Cut::default());
        let shared = Arc::clone(&cut);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                for (from, to, way) in [(&client, &server, Way::Up), (&server, &client, Way::Down)] {
                    to.set_nodelay(true).unwrap();
                    let (from, to, cut) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&shared));
                    std::thread::spawn(move || forward(from, to, way, &cut));
                }
            }
        });
        Proxy { port, cut }
    }

    /// Cuts the connection that is the first to carry so many more bytes this way, after them.
    pub fn cut_after(&self, way: Way, bytes: usize) {
        *self.cut.lock().unwrap() = Some((way, bytes));
    }

    /// Forgets the cut. Returns whether it was made.
    pub fn was_cut(&self) -> bool {
        self.cut.lock().unwrap().take().is_none()
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, way: Way, cut: &Cut) {
    let mut buffer = [0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let (passed, ends) = passed(&mut cut.lock().unwrap(), way, read);
        if to.write_all(&buffer[..passed]).is_err() || ends {
            break;
        }
    }
    // Both ways: what the other thread carries ends too.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// How many of these bytes pass, and whether the connection ends behind them.
fn passed(cut: &mut Option<(Way, usize)>, way: Way, read: usize) -> (usize, bool) {
    match cut {
        Some((cut_way, left)) if *cut_way == way => {
            let passed = read.min(*left);
            *left -= passed;
            let ends = passed < read;
            if ends {
                *cut = None;
            }
            (passed, ends)
        }
        _ => (read, false),
    }
}
