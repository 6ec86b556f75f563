//! Frames of a call: sizes, batches, limits, order and flow control.

use std::time::Duration;

use bytes::Bytes;
use slim_config::ClientConfig;
use slim_net::{Code, LinkEnd, Status, dial};
use slim_proto::Egress;
use slim_proto::limits::FRAME_BYTES_MAX;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::server::{Server, egress, max_frame_size, payload, verbatim, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_every_size_arrive_unchanged_in_both_directions() {
    let mut server = Server::start(&[]).await;
    let mut dialed = dial(&server.client()).await.unwrap();
    let (mut accepted, _open) = server.next_call().await;
    accepted.established.mark();
    accepted.reader.accept_large_frames();
    dialed.reader.accept_large_frames();
    let sizes = [
        0,
        1,
        5,
        255,
        256,
        16_379,
        16_384,
        65_536,
        70_000,
        1_048_576,
        FRAME_BYTES_MAX,
    ];
    let (up, down) = tokio::join!(
        async {
            for size in sizes {
                dialed.writer.send(egress(size)).await.unwrap();
            }
            for size in sizes {
                assert_eq!(
                    *within(dialed.reader.next()).await.unwrap().bytes(),
                    payload(size)
                );
            }
            dialed
        },
        async {
            for size in sizes {
                assert_eq!(
                    *within(accepted.reader.next()).await.unwrap().bytes(),
                    payload(size)
                );
            }
            for size in sizes {
                accepted.writer.send(egress(size)).await.unwrap();
            }
            accepted
        }
    );
    // Each side ends its half; the dialer learns the status.
    up.writer.finish(&Status::ok());
    let (mut dialer, mut acceptor) = (up.reader, down.reader);
    assert!(matches!(within(acceptor.next()).await, Err(LinkEnd::Ended(None))));
    down.writer
        .finish(&Status::new(Code::PERMISSION_DENIED, "deployment_name mismatch"));
    match within(dialer.next()).await {
        Err(LinkEnd::Ended(Some(status))) => {
            assert_eq!(
                status,
                Status::new(Code::PERMISSION_DENIED, "deployment_name mismatch")
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_and_large_frames_of_one_batch_keep_their_order() {
    let mut server = Server::start(&[]).await;
    let mut dialed = dial(&server.client()).await.unwrap();
    let (mut accepted, _open) = server.next_call().await;
    accepted.established.mark();
    accepted.reader.accept_large_frames();
    // Around the size up to which frames are gathered (4 KiB), and more than one block of gathered ones (16 KiB).
    let sizes: Vec<usize> = [
        0, 7, 4095, 4096, 4097, 1, 9000, 300, 20_000, 2, 4096, 4096, 4096, 4096, 4096, 3,
    ]
    .into();
    for &size in &sizes {
        dialed.writer.push(egress(size));
    }
    let expected: usize = sizes.iter().map(|size| size + 5).sum();
    assert_eq!(dialed.writer.pending_bytes(), expected);
    dialed.writer.flush().await.unwrap();
    assert_eq!(dialed.writer.pending_bytes(), 0);
    for size in sizes {
        assert_eq!(
            *within(accepted.reader.next()).await.unwrap().bytes(),
            payload(size)
        );
    }
}

#[tokio::test]
async fn a_batch_of_small_frames_leaves_in_one_data_frame() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ClientConfig::insecure(listener.local_addr().unwrap().into());
    let (chunk, mut chunks) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let response = http::Response::builder()
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let _stream: h2::SendStream<Bytes> = respond.send_response(response, false).unwrap();
        let mut body = request.into_body();
        let reading = async {
            while let Some(Ok(data)) = body.data().await {
                chunk.send(data).unwrap();
            }
        };
        tokio::select! {
            () = reading => {}
            _ = connection.accept() => {}
        }
    });
    let mut dialed = within(dial(&config)).await.unwrap();
    for number in 0..64u8 {
        dialed.writer.push(verbatim(vec![number]));
    }
    dialed.writer.flush().await.unwrap();
    let chunk = within(chunks.recv()).await.unwrap();
    let expected: Vec<u8> = (0..64).flat_map(|number| [0, 0, 0, 0, 1, number]).collect();
    assert_eq!(chunk, expected);
}

#[tokio::test]
async fn both_sides_take_data_frames_of_64_kib() {
    let server = Server::start(&[]).await;
    let mut raw = TcpStream::connect(server.address).await.unwrap();
    // The preface and empty SETTINGS.
    raw.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    assert_eq!(max_frame_size(&mut raw).await, Some(65_536));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ClientConfig::insecure(listener.local_addr().unwrap().into());
    let dialing = tokio::spawn(async move { dial(&config).await.map(drop) });
    let (mut raw, _) = listener.accept().await.unwrap();
    let mut preface = [0; 24];
    raw.read_exact(&mut preface).await.unwrap();
    assert_eq!(max_frame_size(&mut raw).await, Some(65_536));
    dialing.abort();
}

#[tokio::test]
async fn frames_are_small_until_the_link_is_negotiated() {
    let mut server = Server::start(&[]).await;
    let mut dialed = dial(&server.client()).await.unwrap();
    let (mut accepted, _open) = server.next_call().await;
    dialed.writer.send(egress(16 * 1024)).await.unwrap();
    assert!(within(accepted.reader.next()).await.is_ok());
    dialed.writer.send(egress(16 * 1024 + 1)).await.unwrap();
    assert!(matches!(
        within(accepted.reader.next()).await,
        Err(LinkEnd::Deframe(_))
    ));
}

#[tokio::test]
async fn a_frame_above_four_mebibytes_ends_the_stream() {
    let mut server = Server::start(&[]).await;
    let mut dialed = dial(&server.client()).await.unwrap();
    let (mut accepted, _open) = server.next_call().await;
    accepted.reader.accept_large_frames();
    let mut prefix = vec![0];
    prefix.extend_from_slice(&u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_be_bytes());
    let head = Bytes::from(prefix);
    dialed
        .writer
        .send(Egress {
            head,
            tail: Bytes::new(),
        })
        .await
        .unwrap();
    let end = within(accepted.reader.next()).await.unwrap_err();
    assert_eq!(
        end.to_string(),
        "gRPC message of 4194305 bytes; the limit is 4194304"
    );
}

#[tokio::test]
async fn a_reader_that_stops_holds_the_writer_back_and_loses_nothing() {
    let mut server = Server::start(&[]).await;
    let mut dialed = dial(&server.client()).await.unwrap();
    let (mut accepted, _open) = server.next_call().await;
    accepted.established.mark();
    accepted.reader.accept_large_frames();
    // 64 MiB do not fit into windows and buffers, so the writer must stop in between.
    let (sent, mut sent_so_far) = watch::channel(0);
    let writing = tokio::spawn(async move {
        for number in 1..=64 {
            dialed.writer.send(egress(1024 * 1024)).await.unwrap();
            sent.send_replace(number);
        }
        dialed
    });
    // The writer is held back when nothing moves any more although it is not done.
    let mut last = 0;
    while let Ok(changed) = timeout(Duration::from_millis(500), sent_so_far.changed()).await {
        changed.unwrap();
        last = *sent_so_far.borrow_and_update();
    }
    assert!(last < 16, "{last} MiB went out to nobody");
    for _ in 0..64 {
        assert_eq!(
            within(accepted.reader.next()).await.unwrap().bytes().len(),
            1024 * 1024
        );
    }
    within(writing).await.unwrap();
}
