//! Streams of vendors in a folder of fixtures, played at every cut: `<stream>.sse` is the vendor's, and
//! `<stream>.<kept>.sse` the client's. With `UPDATE=1` what clients get is written.
#![allow(clippy::unwrap_used, reason = "a panic is the verdict")]

use std::path::PathBuf;

use ai_proxy::AiProxy;
use common::testkit::{Script, Worker};

/// The folder of a pair of APIs.
pub(crate) fn folder(pair: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(pair)
}

/// The names of a pair's streams, in order.
pub(crate) fn streams(pair: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder(pair)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".sse").filter(|it| !it.contains('.')).map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Plays a stream whole, byte by byte and in any two pieces. `script` is the request and its answer in these pieces.
/// Gives what the client gets.
pub(crate) fn play_cuts(
    (pair, name, kept): (&str, &str, &str),
    config: &str,
    script: impl Fn(Vec<Vec<u8>>) -> Script,
) -> String {
    let vendors = std::fs::read(folder(pair).join(format!("{name}.sse"))).unwrap();
    let worker = Worker::<AiProxy>::start(config);
    let gets = |pieces: Vec<Vec<u8>>| {
        // An empty piece keeps the player from ending the stream with its head.
        let pieces = if pieces.concat().is_empty() { vec![Vec::new()] } else { pieces };
        worker.play(script(pieces)).client.unwrap().body()
    };
    let whole = gets(vec![vendors.clone()]);
    let path = folder(pair).join(format!("{name}.{kept}.sse"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &whole).unwrap();
    }
    let expected = std::fs::read(&path).unwrap();
    let same = |found: &[u8], how: &str| {
        assert!(found == expected, "{name}, {how}:\n{}", String::from_utf8_lossy(found));
    };
    same(&whole, "whole");
    same(&gets(vendors.chunks(1).map(<[u8]>::to_vec).collect()), "byte by byte");
    for cut in 1..vendors.len() {
        let (before, after) = vendors.split_at(cut);
        same(&gets(vec![before.to_vec(), after.to_vec()]), &format!("cut at {cut}"));
    }
    String::from_utf8(expected).unwrap()
}
