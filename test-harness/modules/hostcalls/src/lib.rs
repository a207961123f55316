//! A filter that asks of the host what ai-proxy asks for a chat, and does nothing with it: it holds the head,
//! reads head and body, changes three fields. What it costs no filter can save that changes a request.
#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "the ABI without anything around it is the purpose")]

use std::cell::Cell;

const REQUEST_HEAD: u32 = 0;
const REQUEST_BODY: u32 = 0;
const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;

const FIELDS: [(&str, &str); 3] = [
    ("authorization", "Bearer sk-vendor-0123456789abcdef"),
    ("x-envoy-original-host", "gateway.test"),
    (":authority", "api.openai.com"),
];

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(kind: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        kind: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
}

thread_local! {
    /// What the host was given for the last answer; it is taken for the next one if that fits.
    static MEMORY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
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
extern "C" fn proxy_on_configure(_: u32, _: usize) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_: u32, _: usize, end: u32) -> u32 {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: both out-pointers outlive the call.
    unsafe { proxy_get_header_map_pairs(REQUEST_HEAD, &raw mut data, &raw mut size) };
    if end == 0 { PAUSE } else { CONTINUE }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(_: u32, size: usize, end: u32) -> u32 {
    if end == 0 {
        return PAUSE;
    }
    let (mut data, mut read) = (std::ptr::null_mut(), 0);
    // SAFETY: both out-pointers outlive the call.
    unsafe { proxy_get_buffer_bytes(REQUEST_BODY, 0, size, &raw mut data, &raw mut read) };
    for (name, value) in FIELDS {
        // SAFETY: pointers and lengths of constants.
        unsafe {
            proxy_replace_header_map_value(
                REQUEST_HEAD,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        };
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(_: u32, _: usize, _: u32) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(_: u32, _: usize, _: u32) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(_: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(_: u32) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(_: u32) {}
