//! The host functions that we use, each a safe function whose every status is a typed result.
//!
//! The SDK's own wrappers panic on statuses they do not expect, and a panic takes the VM down with
//! every request in it; so these are declared here a second time. Signatures: proxy-wasm ABI 0.2.1.
#![expect(unsafe_code, reason = "foreign functions; this is the one file that has any")]

use std::ptr;

use crate::filter::HostError;

/// Raw pointer and length of host-allocated bytes; the host calls back into our allocator for them.
struct Returned {
    data: *mut u8,
    size: usize,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(kind: u32, start: usize, max: usize, data: *const u8, size: usize) -> u32;
    fn proxy_get_header_map_pairs(kind: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        kind: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        kind: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(kind: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        token: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        token: u32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, delta: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_continue_stream(kind: u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

fn checked(status: u32) -> Result<(), HostError> {
    Err(match status {
        0 => return Ok(()),
        1 => HostError::NotFound,
        2 => HostError::BadArgument,
        3 | 4 => HostError::Serialization,
        7 => HostError::Empty,
        8 => HostError::CasMismatch,
        10 => HostError::Internal,
        other => HostError::Other(other),
    })
}

impl Returned {
    fn none() -> Self {
        Self { data: ptr::null_mut(), size: 0 }
    }

    /// Takes the bytes over. `None` where the host returned no buffer at all.
    fn into_bytes(self) -> Option<Vec<u8>> {
        if self.data.is_null() {
            return None;
        }
        // SAFETY: the host obtained `data` from this module's `proxy_on_memory_allocate`, which hands
        // out the pointer of a boxed slice of exactly `size` bytes, filled it, and forgot it.
        Some(unsafe { Vec::from_raw_parts(self.data, self.size, self.size) })
    }
}

pub(super) fn log(level: u32, message: &str) {
    // SAFETY: pointer and length of a live string. A status here has nobody left to be told to.
    let _ = unsafe { proxy_log(level, message.as_ptr(), message.len()) };
}

pub(super) fn log_level() -> Result<u32, HostError> {
    let mut level = 0;
    // SAFETY: `level` outlives the call.
    checked(unsafe { proxy_get_log_level(&raw mut level) })?;
    Ok(level)
}

/// Nanoseconds since the epoch.
pub(super) fn current_time() -> Result<u64, HostError> {
    let mut time = 0;
    // SAFETY: `time` outlives the call.
    checked(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) })?;
    Ok(time)
}

pub(super) fn buffer(kind: u32, start: usize, max: usize) -> Result<Option<Vec<u8>>, HostError> {
    let mut returned = Returned::none();
    // SAFETY: both out-pointers outlive the call.
    checked(unsafe {
        proxy_get_buffer_bytes(kind, start, max, &raw mut returned.data, &raw mut returned.size)
    })?;
    Ok(returned.into_bytes())
}

/// Replaces a whole buffer. [rule 10] Start 0 and a maximal length is the one range that always may.
pub(super) fn replace_buffer(kind: u32, bytes: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointer and length of a live slice.
    checked(unsafe { proxy_set_buffer_bytes(kind, 0, usize::MAX, bytes.as_ptr(), bytes.len()) })
}

/// Adds to the end.
pub(super) fn append_buffer(kind: u32, bytes: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointer and length of a live slice. Beyond the end is the one other place that Envoy writes at.
    checked(unsafe { proxy_set_buffer_bytes(kind, usize::MAX, 0, bytes.as_ptr(), bytes.len()) })
}

pub(super) fn pairs(kind: u32) -> Result<Vec<u8>, HostError> {
    let mut returned = Returned::none();
    // SAFETY: both out-pointers outlive the call.
    checked(unsafe { proxy_get_header_map_pairs(kind, &raw mut returned.data, &raw mut returned.size) })?;
    Ok(returned.into_bytes().unwrap_or_default())
}

pub(super) fn replace_header(kind: u32, name: &[u8], value: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointers and lengths of live slices.
    checked(unsafe {
        proxy_replace_header_map_value(kind, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

pub(super) fn add_header(kind: u32, name: &[u8], value: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointers and lengths of live slices.
    checked(unsafe {
        proxy_add_header_map_value(kind, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

pub(super) fn remove_header(kind: u32, name: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointer and length of a live slice.
    checked(unsafe { proxy_remove_header_map_value(kind, name.as_ptr(), name.len()) })
}

/// `path`: segments joined by NUL.
pub(super) fn property(path: &[u8]) -> Result<Option<Vec<u8>>, HostError> {
    let mut returned = Returned::none();
    // SAFETY: a live slice, and two out-pointers that outlive the call.
    checked(unsafe {
        proxy_get_property(path.as_ptr(), path.len(), &raw mut returned.data, &raw mut returned.size)
    })?;
    Ok(returned.into_bytes())
}

pub(super) fn set_property(path: &[u8], value: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointers and lengths of live slices.
    checked(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

pub(super) fn shared_data(key: &str) -> Result<(Option<Vec<u8>>, u32), HostError> {
    let mut returned = Returned::none();
    let mut token = 0;
    // SAFETY: a live string, and three out-pointers that outlive the call.
    checked(unsafe {
        proxy_get_shared_data(
            key.as_ptr(),
            key.len(),
            &raw mut returned.data,
            &raw mut returned.size,
            &raw mut token,
        )
    })?;
    Ok((returned.into_bytes(), token))
}

/// Token 0 writes unconditionally.
pub(super) fn set_shared_data(key: &str, value: &[u8], token: u32) -> Result<(), HostError> {
    // SAFETY: pointers and lengths of live slices.
    checked(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), token) })
}

pub(super) fn define_metric(kind: u32, name: &str) -> Result<u32, HostError> {
    let mut id = 0;
    // SAFETY: a live string, and an out-pointer that outlives the call.
    checked(unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

pub(super) fn increment_metric(id: u32, delta: i64) -> Result<(), HostError> {
    // SAFETY: plain numbers.
    checked(unsafe { proxy_increment_metric(id, delta) })
}

pub(super) fn record_metric(id: u32, value: u64) -> Result<(), HostError> {
    // SAFETY: plain numbers.
    checked(unsafe { proxy_record_metric(id, value) })
}

/// `kind`: 0 the request, 1 the response.
pub(super) fn continue_stream(kind: u32) -> Result<(), HostError> {
    // SAFETY: a plain number.
    checked(unsafe { proxy_continue_stream(kind) })
}

/// Milliseconds; zero stops the timer.
pub(super) fn set_tick_period(period: u32) -> Result<(), HostError> {
    // SAFETY: a plain number.
    checked(unsafe { proxy_set_tick_period_milliseconds(period) })
}

/// `headers`: serialised as by [`crate::http::head::to_pairs`].
pub(super) fn send_local_response(
    status: u16,
    details: &str,
    body: &[u8],
    headers: &[u8],
) -> Result<(), HostError> {
    // Minus one: no gRPC status of our own; Envoy derives one for gRPC clients.
    // SAFETY: pointers and lengths of live slices.
    checked(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    })
}

/// Puts into the module which of its entry points whoever builds it may leave out.
#[doc(hidden)]
#[macro_export]
macro_rules! callbacks_section {
    ($callbacks:expr) => {
        #[used]
        #[unsafe(link_section = "callbacks")]
        static CALLBACKS: [u8; 1] = [$callbacks.bits()];
    };
}
