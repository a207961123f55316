//! A filter that asks of the host what a plugin asks, and does nothing with it. What it costs no filter can save that
//! has the plugin's work to do.
//!
//! Its configuration is what the plugin asks in an exchange, a call a line, and `|` between two callbacks: the heads
//! and bodies of request and response, and the end. `hold` makes a half of the exchange wait for its body.
#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "the ABI without anything around it is the purpose")]

use std::cell::{Cell, OnceCell};

const REQUEST: u32 = 0;
const RESPONSE: u32 = 1;
const CONFIGURATION: u32 = 7;
const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;
const COUNTER: u32 = 0;
const EVERYTHING: usize = u32::MAX as usize;

const VALUE: &[u8] = b"value-of-ordinary-length";
const PATH: &[u8] = b"/path/of/ordinary/length";
const METRIC: &str = "hostcalls";

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, max: usize, data: *const u8, size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, data: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, metric: *mut u32) -> u32;
    fn proxy_increment_metric(metric: u32, delta: i64) -> u32;
}

/// What a plugin asks.
enum Call {
    Pairs(u32),
    Change(u32, String),
    Body(u32),
    ReplaceBody(u32),
    /// Its path, the parts with a zero between them.
    Property(String),
    SetProperty(String),
    Time,
    Count,
}

/// What it asks in one callback.
#[derive(Default)]
struct Callback {
    calls: Vec<Call>,
    holds: bool,
}

#[derive(Default)]
struct Script {
    request_head: Callback,
    request_body: Callback,
    response_head: Callback,
    response_body: Callback,
    end: Callback,
    metric: u32,
}

thread_local! {
    /// What the host was given for the last answer; it is taken for the next one if that fits.
    static MEMORY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SCRIPT: OnceCell<Script> = const { OnceCell::new() };
    /// Responses that pass event by event are not held.
    static IS_STREAM: Cell<bool> = const { Cell::new(false) };
}

/// An answer of the host's in [`MEMORY`].
fn answered(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> usize {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    call(&raw mut data, &raw mut size);
    size
}

/// Reads the last answer of the host's, of so many bytes.
fn with_memory<T>(size: usize, read: impl FnOnce(&[u8]) -> T) -> T {
    MEMORY.with(|memory| {
        let bytes = memory.take();
        // SAFETY: the host has written so many bytes of what was reserved for it.
        let answer = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), size) };
        let result = read(answer);
        memory.set(bytes);
        result
    })
}

impl Callback {
    fn of(lines: &str) -> Self {
        let mut callback = Self::default();
        let map = |half: &str| if half == "Response" { RESPONSE } else { REQUEST };
        // Fields that a plugin changes are those of the half whose callback it is in.
        let half = if lines.contains("Response") { RESPONSE } else { REQUEST };
        for line in lines.lines() {
            let (call, rest) = line.split_once(' ').unwrap_or((line, ""));
            callback.calls.push(match call {
                "hold" => {
                    callback.holds = true;
                    continue;
                }
                "pairs" => Call::Pairs(map(rest)),
                "body" => Call::Body(map(rest)),
                "replace_body" => Call::ReplaceBody(map(rest)),
                "change" => Call::Change(half, rest.to_owned()),
                "property" => Call::Property(rest.replace('.', "\0")),
                "set_property" => Call::SetProperty(rest.to_owned()),
                "now" | "monotonic" => Call::Time,
                "add" => Call::Count,
                _ => continue,
            });
        }
        callback
    }

    /// Makes the calls: those that every piece of a body takes, or the others. `size` is that of what has come.
    fn run(&self, each_piece: bool, size: usize, metric: u32) {
        let is_of_each = |call: &&Call| matches!(call, Call::Body(_) | Call::ReplaceBody(_));
        for call in self.calls.iter().filter(|call| is_of_each(call) == each_piece) {
            call.make(size, metric);
        }
    }
}

impl Call {
    fn make(&self, size: usize, metric: u32) {
        // SAFETY: in all of them pointers and lengths are those of values that outlive the call.
        unsafe {
            match self {
                // Maps of headers have other numbers than buffers.
                Self::Pairs(half) => {
                    let size = answered(|data, size| proxy_get_header_map_pairs(map_of(*half), data, size));
                    if *half == RESPONSE {
                        let is_stream =
                            |head: &[u8]| head.windows(12).any(|window| window == b"event-stream");
                        IS_STREAM.set(with_memory(size, is_stream));
                    }
                }
                Self::Change(half, name) => {
                    let length = size.to_string();
                    let value = match name.as_str() {
                        "content-length" => length.as_bytes(),
                        ":path" => PATH,
                        _ => VALUE,
                    };
                    let (name, map) = (name.as_bytes(), map_of(*half));
                    proxy_replace_header_map_value(
                        map,
                        name.as_ptr(),
                        name.len(),
                        value.as_ptr(),
                        value.len(),
                    );
                }
                Self::Body(half) => {
                    answered(|data, read| proxy_get_buffer_bytes(*half, 0, size, data, read));
                }
                Self::ReplaceBody(half) => with_memory(size, |body| {
                    proxy_set_buffer_bytes(*half, 0, EVERYTHING, body.as_ptr(), body.len());
                }),
                Self::Property(path) => {
                    answered(|data, size| proxy_get_property(path.as_ptr(), path.len(), data, size));
                }
                Self::SetProperty(path) => {
                    proxy_set_property(path.as_ptr(), path.len(), VALUE.as_ptr(), VALUE.len());
                }
                Self::Time => {
                    let mut time = 0;
                    proxy_get_current_time_nanoseconds(&raw mut time);
                }
                Self::Count => {
                    proxy_increment_metric(metric, 1);
                }
            }
        }
    }
}

fn map_of(half: u32) -> u32 {
    if half == RESPONSE { 2 } else { 0 }
}

fn with_script(run: impl FnOnce(&Script) -> u32) -> u32 {
    SCRIPT.with(|script| script.get().map_or(CONTINUE, run))
}

/// What has come of a body, with the calls of its callback: at once, or at the end of what is held.
fn body(callback: &Callback, holds: bool, size: usize, is_end: bool, metric: u32) -> u32 {
    if holds && !is_end {
        return PAUSE;
    }
    if is_end {
        callback.run(false, size, metric);
    }
    if size > 0 {
        callback.run(true, size, metric);
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    MEMORY.with(|memory| {
        let mut bytes = memory.take();
        bytes.reserve(size);
        let data = bytes.as_mut_ptr();
        memory.set(bytes);
        data
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(_: u32, _: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_: u32, _: usize) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_: u32, size: usize) -> u32 {
    // SAFETY: both out-pointers outlive the call.
    let size = answered(|data, read| unsafe { proxy_get_buffer_bytes(CONFIGURATION, 0, size, data, read) });
    // A text in JSON, in which only line ends are escaped.
    let text = with_memory(size, |text| String::from_utf8_lossy(text).into_owned());
    let lines = text.trim_matches('"').replace("\\n", "\n");
    let mut callbacks = lines.split('|').map(Callback::of);
    let mut next = || callbacks.next().unwrap_or_default();
    let mut script = Script {
        request_head: next(),
        request_body: next(),
        response_head: next(),
        response_body: next(),
        end: next(),
        metric: 0,
    };
    // SAFETY: the name is a constant's, and the out-pointer outlives the call.
    unsafe { proxy_define_metric(COUNTER, METRIC.as_ptr(), METRIC.len(), &raw mut script.metric) };
    SCRIPT.with(|known| u32::from(known.set(script).is_ok()))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_: u32, _: usize, end: u32) -> u32 {
    with_script(|script| {
        script.request_head.run(false, 0, script.metric);
        if script.request_head.holds && end == 0 { PAUSE } else { CONTINUE }
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(_: u32, size: usize, end: u32) -> u32 {
    with_script(|script| body(&script.request_body, script.request_head.holds, size, end != 0, script.metric))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(_: u32, _: usize, end: u32) -> u32 {
    with_script(|script| {
        IS_STREAM.set(false);
        script.response_head.run(false, 0, script.metric);
        if script.response_head.holds && end == 0 && !IS_STREAM.get() { PAUSE } else { CONTINUE }
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(_: u32, size: usize, end: u32) -> u32 {
    with_script(|script| {
        let holds = script.response_head.holds && !IS_STREAM.get();
        body(&script.response_body, holds, size, end != 0, script.metric)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(_: u32) {
    with_script(|script| {
        script.end.run(false, 0, script.metric);
        CONTINUE
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(_: u32) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(_: u32) {}
