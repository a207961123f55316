//! Which of Envoy's callbacks a filter hears. Envoy makes only those that a module exports, and each costs it an
//! entry into the VM for every exchange, so whoever builds modules leaves the others out.

use super::Filter;

/// The callbacks that not every filter hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Callbacks {
    /// Those of the response.
    pub response: bool,
    /// The one before Envoy writes its access log.
    pub log: bool,
}

impl Callbacks {
    /// The custom section in which a module has them, as [`Callbacks::bits`]. [`plugin!`](crate::plugin) writes it.
    pub const SECTION: &str = "callbacks";

    const RESPONSE: u8 = 1;
    const LOG: u8 = 2;

    /// Those of a filter.
    #[must_use]
    pub const fn of<F: Filter>() -> Self {
        Self { response: F::SEES_RESPONSES, log: F::ENDS_BEFORE_LOG }
    }

    /// As a module carries them.
    #[must_use]
    pub const fn bits(self) -> u8 {
        (if self.response { Self::RESPONSE } else { 0 }) | (if self.log { Self::LOG } else { 0 })
    }

    /// What a module carries.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self { response: bits & Self::RESPONSE != 0, log: bits & Self::LOG != 0 }
    }

    /// Whether an entry point of the SDK's is heard. All are but these: `proxy_on_done` is followed by
    /// `proxy_on_delete` at once, where an exchange ends at the latest.
    #[must_use]
    pub fn has(self, entry_point: &str) -> bool {
        match entry_point {
            "proxy_on_response_headers" | "proxy_on_response_body" | "proxy_on_response_trailers" => {
                self.response
            }
            "proxy_on_log" => self.log,
            "proxy_on_done" => false,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_tell_what_is_heard() {
        for (response, log) in [(false, false), (false, true), (true, false), (true, true)] {
            let callbacks = Callbacks { response, log };
            assert_eq!(Callbacks::from_bits(callbacks.bits()), callbacks);
            assert_eq!(callbacks.has("proxy_on_response_body"), response);
            assert_eq!(callbacks.has("proxy_on_log"), log);
            assert!(callbacks.has("proxy_on_request_body") && callbacks.has("proxy_on_delete"));
            assert!(!callbacks.has("proxy_on_done"));
        }
    }
}
