//! The bytes that both peers send, made once.

/// The token of the client, which no upstream may see where a plugin has one of its own.
const CLIENT_TOKEN: &str = "sk-client-0123456789abcdef";

/// The model that requests ask for.
pub(super) const MODEL: &str = "gpt-4o-mini";

/// Ends a streamed body.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// An API in which conversations are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// OpenAI's chat completions.
    Chats,
    /// Anthropic's Messages.
    Messages,
    /// OpenAI's Responses.
    Responses,
}

/// Everything sent in a run of one chain.
pub(super) struct Traffic {
    /// A request with a body of 1 KiB.
    pub(super) small: Vec<u8>,
    /// A request with a body of 16 KiB.
    pub(super) large: Vec<u8>,
    /// A request of 1 KiB that asks for a stream.
    pub(super) streamed: Vec<u8>,
    /// An answer.
    pub(super) completion: Vec<u8>,
    /// The head of a streamed answer, and what comes before its first word.
    pub(super) stream_head: Vec<u8>,
    /// One event of it, in a chunk of its own.
    pub(super) event: Vec<u8>,
}

impl Traffic {
    /// What a client that speaks `client` and a vendor that speaks `vendor` send.
    pub(super) fn of(client: Talk, vendor: Talk) -> Self {
        let head = concat!(
            "HTTP/1.1 200 OK\r\n",
            "content-type: text/event-stream\r\n",
            "cache-control: no-cache\r\n",
            "transfer-encoding: chunked\r\n\r\n",
        );
        Self {
            small: request(client, &conversation(client, 1024, false)),
            large: request(client, &conversation(client, 16 * 1024, false)),
            streamed: request(client, &conversation(client, 1024, true)),
            completion: completion(vendor),
            stream_head: [head.as_bytes(), &beginning(vendor)].concat(),
            event: chunk(&event(vendor)),
        }
    }
}

/// As a client with an ordinary library sends it.
fn request(client: Talk, body: &str) -> Vec<u8> {
    let length = body.len();
    let path = match client {
        Talk::Chats => "/v1/chat/completions",
        Talk::Messages => "/v1/messages",
        Talk::Responses => "/v1/responses",
    };
    format!(
        "POST {path} HTTP/1.1\r\n\
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
fn conversation(client: Talk, size: usize, is_streamed: bool) -> String {
    const TURN: &str = "Explain, in three short steps, how a gateway passes a request on.\\n\\nThe last answer \
                        was \\\"too long\\\"; keep to what a reader needs, and name the part that does it.";
    let limit = if client == Talk::Responses { "max_output_tokens" } else { "max_tokens" };
    let tail = format!(r#""}}],"temperature":0.7,"{limit}":256,"stream":{is_streamed}}}"#);
    let system = "You are a helpful assistant.";
    let mut body = match client {
        Talk::Chats => {
            format!(r#"{{"model":"{MODEL}","messages":[{{"role":"system","content":"{system}"}}"#)
        }
        Talk::Messages => {
            format!(
                r#"{{"model":"{MODEL}","system":"{system}","messages":[{{"role":"user","content":"Hello."}},{{"role":"assistant","content":"Hello."}}"#
            )
        }
        Talk::Responses => {
            format!(
                r#"{{"model":"{MODEL}","instructions":"{system}","input":[{{"role":"user","content":"Hello."}},{{"role":"assistant","content":"Hello."}}"#
            )
        }
    };
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

const ANSWER: &str = "First the gateway reads the head of the request and looks for a route. Then it lets its filters see \
                      head and body, each of which may change them. Then it sends both to a server of the route's \
                      cluster, and the answer goes back the same way, through the filters in reverse.";

fn completion(vendor: Talk) -> Vec<u8> {
    let body = match vendor {
        Talk::Chats => format!(
            r#"{{"id":"chatcmpl-bench000000000000000000000","object":"chat.completion","created":1700000000,"model":"{MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{ANSWER}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":221,"completion_tokens":58,"total_tokens":279}},"system_fingerprint":"fp_bench"}}"#
        ),
        Talk::Messages => format!(
            r#"{{"id":"msg_bench0000000000000000000000000","type":"message","role":"assistant","model":"{MODEL}","content":[{{"type":"text","text":"{ANSWER}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":221,"output_tokens":58}}}}"#
        ),
        Talk::Responses => format!(
            r#"{{"id":"resp_bench000000000000000000000000","object":"response","created_at":1700000000,"status":"completed","model":"{MODEL}","output":[{{"type":"message","id":"msg_bench","status":"completed","role":"assistant","content":[{{"type":"output_text","text":"{ANSWER}","annotations":[]}}]}}],"usage":{{"input_tokens":221,"output_tokens":58,"total_tokens":279}}}}"#
        ),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\n\
         content-type: application/json\r\n\
         x-request-id: req_bench\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What a vendor sends before the first word of a stream.
fn beginning(vendor: Talk) -> Vec<u8> {
    let events = match vendor {
        Talk::Chats => return Vec::new(),
        Talk::Messages => [
            format!(
                r#"{{"type":"message_start","message":{{"id":"msg_bench","type":"message","role":"assistant","model":"{MODEL}","content":[],"stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":221,"output_tokens":1}}}}}}"#
            ),
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.to_owned(),
        ],
        Talk::Responses => [
            format!(
                r#"{{"type":"response.created","sequence_number":0,"response":{{"id":"resp_bench","object":"response","created_at":1700000000,"status":"in_progress","model":"{MODEL}","output":[]}}}}"#
            ),
            r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"message","id":"msg_bench","status":"in_progress","role":"assistant","content":[]}}"#
                .to_owned(),
        ],
    };
    chunk(&events.map(|event| format!("data: {event}\n\n")).concat())
}

fn event(vendor: Talk) -> String {
    let data = match vendor {
        Talk::Chats => format!(
            r#"{{"id":"chatcmpl-bench000000000000000000000","object":"chat.completion.chunk","created":1700000000,"model":"{MODEL}","choices":[{{"index":0,"delta":{{"content":" gateway"}},"logprobs":null,"finish_reason":null}}]}}"#
        ),
        Talk::Messages => {
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" gateway"}}"#.to_owned()
        }
        Talk::Responses => {
            r#"{"type":"response.output_text.delta","sequence_number":2,"item_id":"msg_bench","output_index":0,"content_index":0,"delta":" gateway"}"#
                .to_owned()
        }
    };
    format!("data: {data}\n\n")
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

    const ALL: [Talk; 3] = [Talk::Chats, Talk::Messages, Talk::Responses];

    #[test]
    fn bodies_are_json_of_the_size_they_are_named_by() {
        let check = |message: &[u8], size: Option<usize>| {
            let (head, body) = parts(message);
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            let value: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert_eq!(value["model"], MODEL);
            assert!(size.is_none_or(|size| size == body.len()), "{}", body.len());
            value
        };
        for talk in ALL {
            let traffic = Traffic::of(talk, talk);
            check(&traffic.small, Some(1024));
            let large = check(&traffic.large, Some(16 * 1024));
            let turns = if talk == Talk::Responses { &large["input"] } else { &large["messages"] };
            assert!(turns.as_array().unwrap().len() > 20);
            assert_eq!(check(&traffic.streamed, Some(1024))["stream"], true);
            check(&traffic.completion, None);
        }
    }

    #[test]
    fn event_is_one_chunk_with_one_json_text() {
        for talk in ALL {
            let text = String::from_utf8(Traffic::of(talk, talk).event).unwrap();
            let (size, rest) = text.split_once("\r\n").unwrap();
            let event = rest.strip_suffix("\r\n").unwrap();
            assert_eq!(usize::from_str_radix(size, 16), Ok(event.len()));
            let json = event.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(json).is_ok());
        }
    }
}
