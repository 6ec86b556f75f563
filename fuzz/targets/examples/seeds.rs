//! Writes the inputs that fuzzing begins with: recorded messages, files of the repository, and scripts around them.
//!
//! `cargo run -p slim-fuzz-targets --example seeds fuzz/target/seeds` makes a folder for each target. They are many and
//! large; `cargo xtask fuzz --minimise` chooses what is committed.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn main() {
    let folder = std::env::args().nth(1).expect("the folder to write to");
    let folder = Path::new(&folder);
    let today: Vec<Vec<u8>> = ["group-3.3.8-mls", "group-3.3.8-plain", "p2p-3.3.8-mls"]
        .iter()
        .flat_map(|name| recorded(&format!("core/proto/vectors/{name}.jsonl")))
        .collect();
    let tutorial = recorded("core/older/vectors/tutorial-0.4.1.jsonl");
    let group = recorded("core/older/vectors/group-1.4.1-mls.jsonl");
    let older: Vec<Vec<u8>> = tutorial.iter().chain(&group).cloned().collect();

    write(folder, "current_frame", today.iter().cloned());
    write(folder, "first_message", today.iter().chain(&older).cloned());
    write(folder, "negotiation", negotiations(&today));
    write(folder, "grpc_stream", streams(&today));
    write(folder, "router", routed(&today));
    write(folder, "older_router", spoken(&tutorial, &group));
    write(folder, "endpoint", heard(&today));
    write(folder, "http2_connection", connections(&today));
    write(folder, "mls", (0..32u8).map(|step| vec![step, 0, step, 0, 5, 1]));
    write(folder, "tokens", tokens(&today));
    write(folder, "key_sets", documents());
    write(folder, "rpc", calls());
    write(folder, "configuration", configurations());
}

fn write(folder: &Path, target: &str, inputs: impl IntoIterator<Item = Vec<u8>>) {
    let folder = folder.join(target);
    fs::create_dir_all(&folder).unwrap();
    let mut count = 0;
    for (number, input) in inputs.into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:03}")), input).unwrap();
        count += 1;
    }
    println!("{target}: {count}");
}

fn negotiations(today: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = Vec::new();
    for policy in 0..16u8 {
        for what in 0..3u8 {
            inputs.push(vec![policy, what, 0, 1, 0, 5, 1]);
        }
        let links = today.iter().filter(|frame| frame.first() == Some(&0x2A)).take(2);
        inputs.extend(links.map(|frame| [&[policy, 0], &frame[..]].concat()));
        // By parts: a good request and a good reply.
        for is_reply in 0..2 {
            inputs.push(vec![policy, 2, 1, 2, 5, 0, 0, is_reply, 1, 0, 0, 0, 0]);
        }
    }
    inputs
}

fn streams(today: &[Vec<u8>]) -> Vec<Vec<u8>> {
    today
        .chunks(3)
        .enumerate()
        .map(|(index, frames)| {
            let mut input = vec![u8::try_from(index % 200).unwrap(); 8];
            for frame in frames {
                input.extend(prefixed(frame));
            }
            input
        })
        .collect()
}

fn routed(today: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = today.chunks(4).map(|frames| steps(4, frames)).collect();
    // Both processes subscribe, then each kind of publish from each side.
    for step in 0..8u8 {
        let mut input = vec![0, 0, 4, 4, 1, 1, 0, 5, 5, 2, 3, 0, 6, 6, 3];
        for fanout in [0x23u8, 0x43, 0x04] {
            input.extend([step, fanout, 5, 4, 7, 2, 0, b'h', b'i']);
            input.extend([3, fanout, 6, 5, 7, 2, 0, b'h', b'i']);
        }
        input.extend([6, 60, 0, 1, 4, 4, 1]);
        inputs.push(input);
    }
    inputs
}

fn spoken(tutorial: &[Vec<u8>], group: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for (first_link, messages) in [(0u8, tutorial), (2, group)] {
        for chunk in messages.chunks(6) {
            let mut input = Vec::new();
            for (index, message) in chunk.iter().enumerate() {
                let link = first_link + u8::try_from(index % 2).unwrap();
                input.extend([2, link]);
                input.extend(chunked(message));
            }
            inputs.push(input);
        }
    }
    // Subscriptions of all, then publishes with each fanout and hop-local field.
    for fanout in 0..8u8 {
        let mut input = Vec::new();
        for link in 0..4u8 {
            input.extend([4, link, 0, link, 4, 1, 1]);
        }
        for link in 0..4u8 {
            input.extend([4, link, fanout << 5 | 0x12, 4, 8, fanout, 1]);
        }
        input.extend([1, 0, 4, 1, 0x22, 4, 8]);
        inputs.push(input);
    }
    inputs
}

fn heard(today: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for (index, frames) in today.chunks(5).enumerate() {
        let mut input = vec![u8::try_from(index % 4).unwrap()];
        for frame in frames {
            input.extend([0, u8::try_from(index % 2).unwrap()]);
            input.extend(chunked(frame));
        }
        inputs.push(input);
    }
    for kind in 0..4u8 {
        for wish in [0u8, 1, 2, 3, 4, 8, 16, 32, 64] {
            // A message of the application, then forged, repeated and changed ones, then time.
            let mut input = vec![kind, 7, 0, 7, 1];
            for template in 0..12u8 {
                input.extend([3, template % 2, template, wish, template, 0, 0, 0]);
                input.extend([
                    2,
                    template % 2,
                    template,
                    1,
                    template % 2,
                    template,
                    0,
                    9,
                    0,
                    4,
                    1,
                ]);
            }
            input.extend([6, 0, 40]);
            inputs.push(input);
        }
    }
    inputs
}

fn connections(today: &[Vec<u8>]) -> Vec<Vec<u8>> {
    // HEADERS of a call as literals without indexing, then DATA with a frame each.
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/dataplane.proto.v1.DataPlaneService/OpenChannel"),
        (":authority", "a"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.extend([0, u8::try_from(name.len()).unwrap()]);
        block.extend(name.as_bytes());
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
    }
    let headers = h2_frame(1, 4, 1, &block);
    let mut inputs = Vec::new();
    for flags in 0..8u8 {
        let data: Vec<u8> = today.iter().take(3).flat_map(|frame| prefixed(frame)).collect();
        let mut input = [vec![flags], headers.clone(), h2_frame(0, 0, 1, &data)].concat();
        inputs.push(input.clone());
        input.extend(h2_frame(6, 0, 0, &[0; 8]));
        input.extend(h2_frame(8, 0, 0, &[0, 0, 1, 0]));
        input.extend(h2_frame(3, 0, 1, &[0, 0, 0, 8]));
        input.extend(h2_frame(7, 0, 0, &[0; 8]));
        inputs.push(input);
    }
    inputs
}

fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn tokens(today: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = (0..32u8).map(|at| vec![at % 2, 0, at * 7, 0, 5, 1]).collect();
    for frame in today.iter().step_by(16) {
        let text = String::from_utf8_lossy(frame);
        let longest = text
            .split(|c: char| !c.is_ascii_graphic())
            .max_by_key(|part| part.len());
        inputs.push([b"\x02", longest.unwrap_or_default().as_bytes()].concat());
    }
    let jwts = fs::read_to_string(repository().join("core/auth/tests/vectors/tokens.jsonl")).unwrap();
    for line in jwts.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let texts = value.as_object().unwrap().values().filter_map(Value::as_str);
        inputs.extend(
            texts
                .filter(|text| text.len() > 40)
                .map(|text| [b"\x03", text.as_bytes()].concat()),
        );
    }
    inputs.push(b"\x02org/namespace/app".to_vec());
    inputs.push(b"\x02spiffe://example.org/ns/app".to_vec());
    inputs
}

fn documents() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    let vectors = repository().join("core/auth/tests/vectors");
    let mut files: Vec<PathBuf> = fs::read_dir(vectors)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files.iter().filter(|file| !file.ends_with("README.md")) {
        let text = fs::read(file).unwrap();
        for algorithm in 0..12u8 {
            inputs.push([&[algorithm], &text[..]].concat());
        }
    }
    let jwks = fs::read_to_string(repository().join("core/auth/tests/vectors/jwks.json")).unwrap();
    let value: Value = serde_json::from_str(&jwks).unwrap();
    for key in value["keys"].as_array().into_iter().flatten() {
        inputs.push([b"\x00", key.to_string().as_bytes()].concat());
        inputs.push([b"\x00", format!("{{\"keys\":[{key}]}}").as_bytes()].concat());
    }
    for text in [
        r#"{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/jwks","token_endpoint":"https://issuer.example/token","token_endpoint_auth_methods_supported":["client_secret_post"]}"#,
        r#"{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example:443/a/../jwks?x=1"}"#,
        r#"{"issuer":"https://issuer.example/","jwks_uri":"https://other.example/jwks"}"#,
        r#"{"access_token":"abc","token_type":"Bearer","expires_in":300,"refresh_token":"def"}"#,
        r#"{"error":"invalid_client","error_description":"no such client"}"#,
        r#"{"keys":[]}"#,
    ] {
        inputs.push([b"\x00", text.as_bytes()].concat());
    }
    inputs
}

fn calls() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for kind in 0..2u8 {
        for which in [0u8, 8, 16, 32, 48, 64, 2, 4] {
            let mut input = vec![kind];
            for shape in 0..4u8 {
                input.extend([0, shape << 3, 2, 0, b'h', b'i']);
            }
            let text = |text: &str| chunked(text.as_bytes());
            for source in [2u8, 3] {
                input.extend([4, source, which, 0]);
                input.extend([0]);
                for value in [(8, "1800000100.5"), (16, "0"), (32, "yes")] {
                    if which & value.0 != 0 {
                        input.extend(text(value.1));
                    }
                }
                input.extend(text("payload"));
            }
            input.extend([6, 0, 0, 2, 0, b'o', b'k', 6, 0, 1, 0]);
            input.extend([2, 0, 16, 0]);
            input.extend(text("0"));
            input.extend([0, 0]);
            input.extend([7, 100, 0, 8, 0, 9, 0, 3, 10, 1, 0, 11, 2]);
            inputs.push(input);
        }
    }
    inputs
}

fn configurations() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for file in [
        "config/edge.yaml",
        "config/mutual-tls.yaml",
        "config/production.yaml",
        "config/tutorial.yaml",
        "core/config/tests/full.yaml",
    ] {
        inputs.push(fs::read(repository().join(file)).unwrap());
    }
    // The examples of the documents.
    for file in [
        "docs/configuration.md",
        "docs/authentication.md",
        "docs/authorization.md",
        "docs/spiffe.md",
    ] {
        let text = fs::read_to_string(repository().join(file)).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            inputs.push(block.as_bytes().to_vec());
        }
    }
    for text in [
        r#"{"endpoint": "127.0.0.1:1", "tls": {"insecure": true}}"#,
        r#"{"endpoint": "http://a:1", "keepalive": {"time": "10s"}, "metadata": {"a": "b"}}"#,
        "TRACING__LOG_LEVEL=debug",
        "SERVICES__SLIM_0__DATAPLANE__SERVERS__0__ENDPOINT=127.0.0.1:9",
        "SERVICES__SLIM_0__DATAPLANE__SERVERS__1__ENDPOINT=\"${env:NAME}\"",
        "1h30m",
        "500ms",
        "10/60",
        "http://[::1]:46357",
        "a: &x [1]\nb: *x\n",
    ] {
        inputs.push(text.as_bytes().to_vec());
    }
    inputs
}

/// A script with this step for each chunk.
fn steps(step: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut input = Vec::new();
    for bytes in chunks {
        input.push(step);
        input.extend(chunked(bytes));
    }
    input
}

fn chunked(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&length.to_le_bytes(), bytes].concat()
}

fn prefixed(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], frame].concat()
}

/// The messages of a recording.
fn recorded(path: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(repository().join(path)).unwrap();
    let message = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let hex = value["hex"].as_str().unwrap();
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    text.lines().map(message).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
