//! A client and a server on tokio-tungstenite, which do what the other peers do.

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use net_core::Address;
use net_ws::WsMessage;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async, connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{
            CloseFrame,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};

use crate::{conversation::messages, rig::soon};

/// Takes one of the actions with our server.
pub(crate) async fn take(to: &Address, action: &str) {
    let mut request = format!("{to}/{action}?name=7").into_client_request().expect("a request");
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", HeaderValue::from_static("first, second"));
    headers.insert("x-from", HeaderValue::from_static("a client"));
    let (mut near, response) = soon("a connection", connect_async(request)).await.expect("connected");
    assert_eq!(
        response.headers().get("sec-websocket-protocol").map(HeaderValue::as_bytes),
        Some(&b"second"[..])
    );
    assert_eq!(response.headers().get("x-from").map(HeaderValue::as_bytes), Some(&b"a server"[..]));
    match action {
        "echo" => {
            for message in messages() {
                let message = foreign(message);
                near.send(message.clone()).await.expect("sent");
                assert!(next(&mut near).await == message, "another message came back");
            }
            near.send(Message::Ping("from a client".into())).await.expect("sent");
            assert_eq!(next(&mut near).await, Message::Pong("from a client".into()));
            let frame = CloseFrame { code: CloseCode::Library(4001), reason: "genüg".into() };
            near.close(Some(frame)).await.expect("closed");
            assert_eq!(code(&next(&mut near).await), Some(4001));
        }
        "fragments" => {
            for (kind, parts) in [(Data::Text, ["Z", "üri", "", "ch"]), (Data::Binary, ["a", "", "b", "c"])]
            {
                for (at, part) in parts.into_iter().enumerate() {
                    let opcode = OpCode::Data(if at == 0 { kind } else { Data::Continue });
                    let frame = Frame::message(part, opcode, at + 1 == parts.len());
                    near.send(Message::Frame(frame)).await.expect("sent");
                }
                let back = next(&mut near).await;
                assert_eq!(back.is_text(), kind == Data::Text);
                assert_eq!(back.into_data(), parts.concat());
            }
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            near.close(Some(frame)).await.expect("closed");
            assert_eq!(code(&next(&mut near).await), Some(1000));
        }
        "closed" => {
            let frame = CloseFrame { code: CloseCode::Library(4002), reason: "enough".into() };
            assert_eq!(next(&mut near).await, Message::Close(Some(frame)));
        }
        "beyond" => {
            // Our server may have had enough before all of it is sent.
            let _ = near.send(Message::Text("x".repeat(2 << 20).into())).await;
            assert_eq!(code(&next(&mut near).await), Some(1009));
        }
        action => panic!("{action} is nothing that it does"),
    }
    // Its answer goes out as it is asked for more; then the server ends the connection.
    let ended = soon("the end", near.next()).await;
    assert!(matches!(ended, None | Some(Err(Error::ConnectionClosed))), "{ended:?}");
}

/// Serves whoever comes, and tells of each what the other peers print.
pub(crate) async fn serve() -> (u16, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let _ = tell.send(serve_one(stream).await.to_string());
            });
        }
    });
    (port, told)
}

async fn serve_one(stream: TcpStream) -> Value {
    let mut told = serde_json::Map::new();
    #[allow(clippy::result_large_err, reason = "the callback's type is theirs")]
    let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let headers = response.headers_mut();
        headers.insert("sec-websocket-protocol", HeaderValue::from_static("second"));
        headers.insert("x-from", HeaderValue::from_static("a server"));
        let header = request.headers().get("x-from").and_then(|value| value.to_str().ok());
        told.extend([
            ("path".to_owned(), json!(request.uri().path())),
            ("query".to_owned(), json!(request.uri().query())),
            ("header".to_owned(), json!(header)),
            ("protocol".to_owned(), json!("second")),
            ("agreed".to_owned(), Value::Null),
            ("failure".to_owned(), Value::Null),
        ]);
        Ok(response)
    };
    let mut far = accept_hdr_async(stream, answer).await.expect("a handshake");
    let path = told.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut sent = match path.as_str() {
        "/pings" => far.send(Message::Ping("from a server".into())).await,
        "/closed" => {
            let frame = CloseFrame { code: CloseCode::Library(4002), reason: "enough".into() };
            far.close(Some(frame)).await
        }
        "/flood" => far.send(Message::Text("x".repeat(2 << 20).into())).await,
        _ => Ok(()),
    };
    while sent.is_ok()
        && let Some(came) = far.next().await
    {
        sent = match came {
            Ok(Message::Text(_) | Message::Binary(_)) if path == "/fragments" => {
                fragments(&mut far, came.expect("looked at")).await
            }
            // A limit of this test: of its own one it tells the peer nothing.
            Ok(message) if message.len() > 1 << 20 => {
                let frame = CloseFrame { code: CloseCode::Size, reason: "".into() };
                far.close(Some(frame)).await
            }
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => far.send(message).await,
            Ok(Message::Pong(_)) if path == "/pings" => far.send("a pong came".into()).await,
            Ok(Message::Close(Some(frame))) => {
                told.insert("code".to_owned(), json!(u16::from(frame.code)));
                told.insert("reason".to_owned(), json!(frame.reason.as_str()));
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
    }
    match sent {
        Ok(()) | Err(Error::ConnectionClosed) => {}
        Err(error) => {
            told.insert("failure".to_owned(), json!(error.to_string()));
        }
    }
    told.into()
}

/// Sends a message back in four parts.
async fn fragments(far: &mut WebSocketStream<TcpStream>, message: Message) -> Result<(), Error> {
    let kind = if message.is_text() { Data::Text } else { Data::Binary };
    let data = message.into_data();
    let middle = data.len() / 2;
    let parts = [data.slice(..1), data.slice(1..middle), data.slice(middle..middle), data.slice(middle..)];
    for (at, part) in parts.into_iter().enumerate() {
        let opcode = OpCode::Data(if at == 0 { kind } else { Data::Continue });
        far.send(Message::Frame(Frame::message(part, opcode, at == 3))).await?;
    }
    Ok(())
}

fn foreign(message: WsMessage) -> Message {
    match message {
        WsMessage::Text(text) => Message::Text(text.to_string().into()),
        WsMessage::Binary(bytes) => Message::Binary(bytes),
    }
}

fn code(message: &Message) -> Option<u16> {
    let Message::Close(Some(frame)) = message else { return None };
    Some(frame.code.into())
}

async fn next<S>(near: &mut WebSocketStream<S>) -> Message
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    soon("a message", near.next()).await.expect("one more").expect("received")
}
