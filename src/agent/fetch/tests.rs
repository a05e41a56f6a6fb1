use super::*;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

/// A server that answers every request with this text, in pieces with a pause between them; its base URL.
fn serving(pieces: Vec<String>, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(io::Result::ok) {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            for piece in &pieces {
                if stream.write_all(piece.as_bytes()).is_err() {
                    break;
                }
                thread::sleep(pause);
            }
        }
    });
    base
}

fn answering(answer: &str) -> String {
    serving(vec![answer.to_owned()], Duration::ZERO)
}

fn get(url: &str, max: u64, time: Duration) -> (Result<Fetched, FetchError>, Vec<u8>) {
    let mut bytes = Vec::new();
    let fetcher = Fetcher { dialer: Dialer::direct(), ca: None };
    (fetcher.get(url, max, Instant::now() + time, &mut bytes), bytes)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_redirect_leads_to_https_only() {
    let plain =
        answering("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x?token=s3cret\r\nContent-Length: 0\r\n\r\n");
    let error = get(&plain, 10, LONG).0.unwrap_err();
    assert_eq!(
        error,
        FetchError::Refused(format!("read {plain}/: it is redirected to http://127.0.0.1:1/x, which is not https"))
    );
    let relative = answering("HTTP/1.1 301 Moved\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n");
    assert!(get(&relative, 10, LONG).0.unwrap_err().to_string().ends_with("/y, which is not https"));
    let nowhere = answering("HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n");
    assert!(get(&nowhere, 10, LONG).0.unwrap_err().to_string().ends_with("it is redirected to no URL"));
    let secure = answering("HTTP/1.1 307 Moved\r\nLocation: https://127.0.0.1:1/z\r\nContent-Length: 0\r\n\r\n");
    let error = get(&secure, 10, LONG).0.unwrap_err();
    assert!(
        matches!(&error, FetchError::Unreachable(text) if text.starts_with("read https://127.0.0.1:1/z: 127.0.0.1:1: ")),
        "{error}"
    );
}

#[test]
fn no_byte_beyond_the_limit_is_written() {
    let body = "x".repeat(100_000);
    let known = answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{body}"));
    let unknown = answering(&format!("HTTP/1.0 200 OK\r\n\r\n{body}"));
    for url in [&known, &unknown] {
        let (fetched, bytes) = get(url, 100_000, LONG);
        assert_eq!((fetched.map(|fetched| fetched.size_bytes), bytes.len()), (Ok(100_000), 100_000));
        let (fetched, bytes) = get(url, 99_999, LONG);
        assert_eq!(fetched, Err(FetchError::TooLarge { url: format!("{url}/"), size_bytes_max: 99_999 }));
        assert!(bytes.len() <= 99_999, "{}", bytes.len());
    }
    let cut_off = answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx");
    // The server waits for another connection now: what is missing does not come.
    let (fetched, _) = get(&cut_off, 1000, Duration::from_millis(500));
    assert!(matches!(fetched, Err(FetchError::Unreachable(_))), "{fetched:?}");
}

#[test]
fn a_server_that_sends_a_byte_now_and_then_ends_at_the_deadline() {
    let pieces: Vec<String> = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".chars().map(String::from).collect();
    let body = vec!["x".to_owned(); 1000];
    for (pieces, pause) in [(pieces.clone(), 30), ([vec![pieces.concat()], body].concat(), 30)] {
        let url = serving(pieces, Duration::from_millis(pause));
        let begun = Instant::now();
        let error = get(&url, 1000, Duration::from_millis(400)).0.unwrap_err();
        assert_eq!(error, FetchError::Unreachable(format!("read {url}/: no answer in time")));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}

#[test]
fn what_is_no_download_is_refused_without_its_secrets() {
    for url in ["", "x", "file:///etc/passwd", "ftp://h/x", "https://", "https://u:s3cret@h/x", "https://u@h/x"] {
        let error = get(url, 10, LONG).0.expect_err(url);
        assert!(matches!(&error, FetchError::Refused(text) if !text.contains("s3cret")), "{url}: {error}");
    }
    for (status, is_final) in [("404 Gone", true), ("403 No", true), ("503 Later", false), ("429 Slow", false)] {
        let url = answering(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        let error = get(&format!("{url}/f?token=s3cret"), 10, LONG).0.unwrap_err();
        assert_eq!(matches!(error, FetchError::Refused(_)), is_final, "{error}");
        let text = format!("read {url}/f: the server answers {}", &status[..3]);
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn an_authority_is_the_cure_only_where_one_is_missing() {
    let hanging = serving(vec![String::new()], LONG).replace("http:", "https:");
    let plain = answering("HTTP/1.1 400 Bad Request\r\n\r\n").replace("http:", "https:");
    for url in [hanging, plain] {
        let error = get(&url, 10, Duration::from_millis(500)).0.unwrap_err().to_string();
        assert!(error.contains("TLS with 127.0.0.1: ") && !error.contains("certs.ca"), "{error}");
    }
}
