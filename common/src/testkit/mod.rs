//! A fake Envoy for native tests: it plays one exchange through the [driver](crate::filter::driver),
//! holds both sides' view of it, and panics where a real Envoy would hang, smuggle or crash.

mod fake;
mod play;
mod readme;

pub use fake::{FakeEnvoy, SHARED_LIMIT};
pub use play::{Played, Script, Seen, Worker, load_errors, play};
pub use readme::check_readme;
