use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const LIMIT: Duration = Duration::from_secs(10);

fn sender(allow_private: bool, limit: Duration) -> Sender {
    Sender::new(Secret::parse(SECRET).unwrap(), allow_private, limit).unwrap()
}

fn message(target: &str) -> Message<'_> {
    Message {
        id: "job-1-7",
        target,
        body: "{\"jobId\":\"job-1\",\"status\":\"SUCCEEDED\"}",
        correlation_id: "c-1",
    }
}

/// A target that answers every request with `answer` (nothing at all where it is empty), and hands on what came.
async fn target(answer: &'static str) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?token=hidden", listener.local_addr().unwrap());
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 8_192];
                let mut size = 0;
                while !String::from_utf8_lossy(&request[..size]).ends_with("\"SUCCEEDED\"}") {
                    match connection.read(&mut request[size..]).await.unwrap() {
                        0 => return,
                        n => size += n,
                    }
                }
                let _ = tell.send(String::from_utf8_lossy(&request[..size]).into_owned());
                connection.write_all(answer.as_bytes()).await.unwrap();
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (url, told)
}

#[tokio::test]
async fn a_message_carries_the_headers_of_standard_webhooks() {
    // contract: A12, A7
    let (url, mut told) = target("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(sender(true, LIMIT).send(message(&url), 1_764_671_400).await, Sent::Taken);
    let request = told.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook?token=hidden HTTP/1.1\r\n"), "{head}");
    for header in [
        "webhook-id: job-1-7",
        "webhook-timestamp: 1764671400",
        "webhook-signature: v1,h+3iMCcQpftdF82Nmfd03osrDT2t1dMENifPpzhp5cY=",
        "content-type: application/json",
        "x-correlation-id: c-1",
        "content-length: 38",
    ] {
        assert!(head.lines().any(|line| line == header), "{header} is not in {head}");
    }
    assert_eq!(body, message(&url).body);
}

#[tokio::test]
async fn what_the_target_answers_decides() {
    // contract: A12
    let table: [(&str, &str); 6] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nwithout an end", ""),
        ("HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "answered 307"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        ("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", "answered 410"),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "answered 500"),
        ("no HTTP at all\r\n\r\n", "HTTP"),
    ];
    for (answer, why) in table {
        let (url, _told) = target(answer).await;
        let sent = sender(true, LIMIT).send(message(&url), 1).await;
        match &sent {
            Sent::Taken => assert_eq!(why, "", "{answer}"),
            Sent::Never { error } => {
                assert!(why == "answered 410" && error.contains(why), "{answer}: {error}");
            }
            Sent::NotNow { error, retry_after } => {
                assert!(!why.is_empty() && error.contains(why) && retry_after.is_none(), "{answer}: {error}");
                assert!(!error.contains("hidden"), "{error}");
            }
        }
    }
    let (url, _told) = target("HTTP/1.1 429 Slower\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n").await;
    let Sent::NotNow { retry_after, .. } = sender(true, LIMIT).send(message(&url), 1).await else { panic!() };
    assert_eq!(retry_after, Some(Duration::from_secs(30)));
}

#[tokio::test]
async fn a_target_that_hangs_is_left_and_one_that_is_away_is_named() {
    // contract: A12
    let (url, mut told) = target("").await;
    let sent = sender(true, Duration::from_millis(300)).send(message(&url), 1).await;
    assert_eq!(sent, Sent::NotNow { error: "no answer within 0.3 s".into(), retry_after: None });
    assert!(told.recv().await.is_some());

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let sent = sender(true, LIMIT).send(message(&format!("http://{closed}/?token=hidden")), 1).await;
    let Sent::NotNow { error, .. } = sent else { panic!("{sent:?}") };
    assert!(error.starts_with("no connection: ") && !error.contains("hidden"), "{error}");
}

#[tokio::test]
async fn nobody_is_connected_to_who_is_not_for_everybody() {
    // contract: A12
    let (url, mut told) = target("HTTP/1.1 204 No Content\r\n\r\n").await;
    let by_name = url.replace("127.0.0.1", "localhost");
    let guarded = sender(false, LIMIT);
    for target in [&url, &by_name] {
        let sent = guarded.send(message(target), 1).await;
        let Sent::Never { error } = &sent else { panic!("{sent:?}") };
        assert!(error.contains("libra.webhooks.allow-private"), "{error}");
    }
    // A name that only the look-up gives away.
    let looked_up = guarded.http.post(&by_name).send().await.unwrap_err();
    let Sent::Never { error } = guarded.unsent(&looked_up) else { panic!("{looked_up:?}") };
    assert!(error.starts_with("localhost leads to a private address"), "{error}");
    assert!(told.try_recv().is_err(), "nobody came");
    assert_eq!(sender(true, LIMIT).send(message(&by_name), 1).await, Sent::Taken);
}
