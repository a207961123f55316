//! The bytes that both peers send, made once.

/// The token of the client, which no upstream may see where a plugin has one of its own.
const CLIENT_TOKEN: &str = "sk-client-0123456789abcdef";

/// The model that requests ask for.
pub(super) const MODEL: &str = "gpt-4o-mini";

/// Ends a streamed body.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Everything sent in a run.
pub(super) struct Traffic {
    /// A chat request with a body of 1 KiB.
    pub(super) small: Vec<u8>,
    /// A chat request with a body of 16 KiB.
    pub(super) large: Vec<u8>,
    /// A chat request of 1 KiB that asks for a stream.
    pub(super) streamed: Vec<u8>,
    /// A chat completion.
    pub(super) completion: Vec<u8>,
    /// The head of a streamed completion.
    pub(super) stream_head: Vec<u8>,
    /// One event of it, in a chunk of its own.
    pub(super) event: Vec<u8>,
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self {
            small: request(&chat(1024, false)),
            large: request(&chat(16 * 1024, false)),
            streamed: request(&chat(1024, true)),
            completion: completion(),
            stream_head: concat!(
                "HTTP/1.1 200 OK\r\n",
                "content-type: text/event-stream\r\n",
                "cache-control: no-cache\r\n",
                "transfer-encoding: chunked\r\n\r\n",
            )
            .into(),
            event: chunk(&event()),
        }
    }
}

/// As a client with an ordinary library sends it.
fn request(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\n\
         host: gateway.test\r\n\
         accept: application/json\r\n\
         accept-encoding: gzip, deflate\r\n\
         user-agent: bench/1.0\r\n\
         authorization: Bearer {CLIENT_TOKEN}\r\n\
         content-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A conversation of exactly this many bytes, in turns of ordinary length.
fn chat(size: usize, is_streamed: bool) -> String {
    const TURN: &str = "Explain, in three short steps, how a gateway passes a request on.\\n\\nThe last answer \
                        was \\\"too long\\\"; keep to what a reader needs, and name the part that does it.";
    let tail = format!(r#""}}],"temperature":0.7,"max_tokens":256,"stream":{is_streamed}}}"#);
    let mut body = format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"system","content":"You are a helpful assistant."}}"#
    );
    let turn = |role: &str, content: &str| format!(r#",{{"role":"{role}","content":"{content}"#);
    while body.len() + 4 * TURN.len() < size {
        body.push_str(&(turn("user", TURN) + "\"}" + &turn("assistant", TURN) + "\"}"));
    }
    body.push_str(&turn("user", TURN));
    while body.len() + tail.len() < size {
        body.push('.');
    }
    body + &tail
}

fn completion() -> Vec<u8> {
    let body = format!(
        r#"{{"id":"chatcmpl-bench000000000000000000000","object":"chat.completion","created":1700000000,"model":"{MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","content":"First the gateway reads the head of the request and looks for a route. Then it lets its filters see head and body, each of which may change them. Then it sends both to a server of the route's cluster, and the answer goes back the same way, through the filters in reverse.","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":221,"completion_tokens":58,"total_tokens":279}},"system_fingerprint":"fp_bench"}}"#
    );
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\n\
         content-type: application/json\r\n\
         x-request-id: req_bench\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn event() -> String {
    format!(
        r#"data: {{"id":"chatcmpl-bench000000000000000000000","object":"chat.completion.chunk","created":1700000000,"model":"{MODEL}","choices":[{{"index":0,"delta":{{"content":" gateway"}},"logprobs":null,"finish_reason":null}}]}}"#
    ) + "\n\n"
}

fn chunk(bytes: &str) -> Vec<u8> {
    format!("{:x}\r\n{bytes}\r\n", bytes.len()).into_bytes()
}

/// Head and body of a message.
pub(super) fn parts(message: &[u8]) -> (&str, &[u8]) {
    let end =
        message.windows(4).position(|window| window == b"\r\n\r\n").expect("every message here has a head");
    (std::str::from_utf8(&message[..end]).expect("every head here is text"), &message[end + 4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_the_size_they_are_named_by() {
        let traffic = Traffic::new();
        let check = |message: &[u8], size: Option<usize>| {
            let (head, body) = parts(message);
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            let value: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert_eq!(value["model"], MODEL);
            assert!(size.is_none_or(|size| size == body.len()), "{}", body.len());
            value
        };
        check(&traffic.small, Some(1024));
        let large = check(&traffic.large, Some(16 * 1024));
        assert!(large["messages"].as_array().unwrap().len() > 20);
        assert_eq!(check(&traffic.streamed, Some(1024))["stream"], true);
        check(&traffic.completion, None);
    }

    #[test]
    fn event_is_one_chunk_with_one_json_text() {
        let traffic = Traffic::new();
        let text = String::from_utf8(traffic.event).unwrap();
        let (size, rest) = text.split_once("\r\n").unwrap();
        let event = rest.strip_suffix("\r\n").unwrap();
        assert_eq!(usize::from_str_radix(size, 16), Ok(event.len()));
        let json = event.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(json).is_ok());
    }
}
