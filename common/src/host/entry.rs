//! The functions that Envoy calls, handed on to the [driver](crate::filter::driver).
//!
//! A VM has contexts, by numbers that Envoy gives: one for each configuration of the plugin, and one for each
//! exchange. Wasm has one thread, so all of them live in a thread-local.
#![expect(unsafe_code, reason = "a name that is exported must be unique; none of these functions does more")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::envoy::Envoy;
use super::ffi;
use crate::filter::driver::{Action, Exchange, Plugin};
use crate::filter::root::Root;
use crate::filter::{Filter, LogLevel};

/// Buffer kinds of the host that only configuration uses.
const PLUGIN_CONFIGURATION: u32 = 7;

thread_local! {
    static VM: Vm = const {
        Vm {
            new_root: Cell::new(None),
            contexts: RefCell::new(Vec::new()),
            calls: RefCell::new(Vec::new()),
            current: Cell::new(0),
        }
    };
}

/// Everything that this VM holds between two calls of Envoy's.
struct Vm {
    /// Makes a context for a configuration; `None` before the module is initialised.
    new_root: Cell<Option<fn() -> Context>>,
    /// In the order of their numbers, which only grow.
    contexts: RefCell<Vec<(u32, Context)>>,
    /// Callouts under way: their tokens, and the contexts that wait for them.
    calls: RefCell<Vec<(u32, u32)>>,
    /// The context that Envoy has called last.
    current: Cell<u32>,
}

#[derive(Clone)]
enum Context {
    Root(Rc<dyn RootContext>),
    Stream(Rc<dyn StreamContext>),
}

/// A configuration of the plugin, whichever plugin it is.
trait RootContext {
    fn configure(&self, size: usize) -> bool;
    fn tick(&self);
    fn call_answer(&self, token: u32, headers: usize, size: usize);
    fn stream(&self) -> Option<Rc<dyn StreamContext>>;
}

/// An exchange of the plugin, whichever plugin it is.
trait StreamContext {
    fn told(&self, event: Event) -> Action;
}

/// What Envoy tells an exchange.
enum Event {
    RequestHead { end: bool },
    RequestBody { size: usize, end: bool },
    RequestTrailers,
    ResponseHead { end: bool },
    ResponseBody { size: usize, end: bool },
    ResponseTrailers,
    CallAnswer { token: u32, headers: usize, size: usize },
    End,
}

/// Registers a plugin; [`plugin!`](crate::plugin) calls it when the module is loaded.
pub fn start<F: Filter>() {
    std::panic::set_hook(Box::new(|info| ffi::log(LogLevel::Critical as u32, &info.to_string())));
    VM.with(|vm| vm.new_root.set(Some(|| Context::Root(Rc::new(Configured::<F>(RefCell::new(None)))))));
}

/// Remembers who waits for a callout.
pub(super) fn called(token: u32) {
    VM.with(|vm| vm.calls.borrow_mut().push((token, vm.current.get())));
}

/// A root context; it has nothing before it is configured.
struct Configured<F: Filter>(RefCell<Option<Root<F>>>);

impl<F: Filter> Configured<F> {
    fn told(&self, about: impl FnOnce(&mut Root<F>)) {
        if let Ok(mut root) = self.0.try_borrow_mut() {
            root.as_mut().map(about);
        }
    }
}

impl<F: Filter> RootContext for Configured<F> {
    fn configure(&self, size: usize) -> bool {
        let bytes = if size == 0 {
            Vec::new()
        } else {
            // Absent and unreadable are the same here: the parser says what is missing.
            ffi::buffer(PLUGIN_CONFIGURATION, 0, size).ok().flatten().unwrap_or_default()
        };
        match Plugin::configure(&bytes, &|name| std::env::var(name).ok(), &Envoy) {
            Ok(plugin) => {
                self.0.replace(Some(Root::start(Rc::new(plugin), &Envoy)));
                true
            }
            // [rule 15] Envoy refuses the start or the update, and keeps what ran before.
            Err(_) => false,
        }
    }

    fn tick(&self) {
        self.told(|root| root.tick(&Envoy));
    }

    fn call_answer(&self, token: u32, headers: usize, size: usize) {
        self.told(|root| root.call_answer(&Envoy, token, headers, size));
    }

    fn stream(&self) -> Option<Rc<dyn StreamContext>> {
        let plugin = Rc::clone(self.0.try_borrow().ok()?.as_ref()?.plugin());
        Some(Rc::new(Exchanging(RefCell::new(Exchange::new(plugin)))))
    }
}

struct Exchanging<F: Filter>(RefCell<Exchange<F>>);

impl<F: Filter> StreamContext for Exchanging<F> {
    fn told(&self, event: Event) -> Action {
        // Some host functions have Envoy call back before they return: whatever that is about passes.
        let Ok(mut exchange) = self.0.try_borrow_mut() else { return Action::Continue };
        match event {
            Event::RequestHead { end } => exchange.request_head(&Envoy, end),
            Event::RequestBody { size, end } => exchange.request_body(&Envoy, size, end),
            Event::RequestTrailers => exchange.request_trailers(&Envoy),
            Event::ResponseHead { end } => exchange.response_head(&Envoy, end),
            Event::ResponseBody { size, end } => exchange.response_body(&Envoy, size, end),
            Event::ResponseTrailers => exchange.response_trailers(&Envoy),
            Event::CallAnswer { token, headers, size } => {
                exchange.call_answer(&Envoy, token, headers, size);
                Action::Continue
            }
            Event::End => {
                exchange.end(&Envoy);
                Action::Continue
            }
        }
    }
}

impl Vm {
    fn context(&self, id: u32) -> Option<Context> {
        self.current.set(id);
        let contexts = self.contexts.borrow();
        let at = place(&contexts, id).ok()?;
        contexts.get(at).map(|(_, context)| context.clone())
    }

    fn create(&self, id: u32, root: u32) {
        let context = if root == 0 {
            self.new_root.get().map(|new_root| new_root())
        } else {
            match self.context(root) {
                Some(Context::Root(root)) => root.stream().map(Context::Stream),
                _ => None,
            }
        };
        if let Some(context) = context {
            let mut contexts = self.contexts.borrow_mut();
            match place(&contexts, id) {
                Ok(_) => {}
                Err(at) => contexts.insert(at, (id, context)),
            }
        }
    }

    fn delete(&self, id: u32) {
        // The context is dropped when the map is no longer borrowed.
        let context = {
            let mut contexts = self.contexts.borrow_mut();
            place(&contexts, id).ok().map(|at| contexts.remove(at))
        };
        self.calls.borrow_mut().retain(|(_, waiting)| *waiting != id);
        drop(context);
    }

    fn waiting(&self, token: u32) -> Option<u32> {
        let mut calls = self.calls.borrow_mut();
        let at = calls.iter().position(|(known, _)| *known == token)?;
        Some(calls.swap_remove(at).1)
    }
}

/// Where the context with this number stands, or would stand.
fn place(contexts: &[(u32, Context)], id: u32) -> Result<usize, usize> {
    contexts.binary_search_by_key(&id, |(known, _)| *known)
}

/// An action, as the host counts them.
fn tell(id: u32, event: Event) -> u32 {
    let action = VM.with(|vm| match vm.context(id) {
        Some(Context::Stream(stream)) => stream.told(event),
        // A stream of a plugin whose configuration was refused; Envoy does not send it any.
        _ => Action::Continue,
    });
    match action {
        Action::Continue => 0,
        Action::Pause => 1,
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for what the host returns; whoever takes it frees it.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_: u32, _size: usize) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, root: u32) {
    VM.with(|vm| vm.create(id, root));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(id: u32, size: usize) -> u32 {
    VM.with(|vm| match vm.context(id) {
        Some(Context::Root(root)) => u32::from(root.configure(size)),
        _ => 0,
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(id: u32) {
    if let Some(Context::Root(root)) = VM.with(|vm| vm.context(id)) {
        root.tick();
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _count: usize, end: u32) -> u32 {
    tell(id, Event::RequestHead { end: end != 0 })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, size: usize, end: u32) -> u32 {
    tell(id, Event::RequestBody { size, end: end != 0 })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _count: usize) -> u32 {
    tell(id, Event::RequestTrailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(id: u32, _count: usize, end: u32) -> u32 {
    tell(id, Event::ResponseHead { end: end != 0 })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(id: u32, size: usize, end: u32) -> u32 {
    tell(id, Event::ResponseBody { size, end: end != 0 })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(id: u32, _count: usize) -> u32 {
    tell(id, Event::ResponseTrailers)
}

/// Comes in the name of the root, whoever called; so the host is told whom the answer is about.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(_: u32, token: u32, headers: usize, size: usize, _trailers: usize) {
    let Some(id) = VM.with(|vm| vm.waiting(token)) else { return };
    if ffi::set_effective_context(id).is_err() {
        return;
    }
    match VM.with(|vm| vm.context(id)) {
        Some(Context::Root(root)) => root.call_answer(token, headers, size),
        _ => {
            tell(id, Event::CallAnswer { token, headers, size });
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(id: u32) {
    tell(id, Event::End);
}

/// Comes after `proxy_on_log`, and instead of it in a cluster's upstream chain.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(id: u32) -> u32 {
    tell(id, Event::End);
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    VM.with(|vm| vm.delete(id));
}

/// What a module has of its own: the function that Envoy calls when it has loaded it.
#[doc(hidden)]
#[macro_export]
macro_rules! initialize {
    ($filter:ty) => {
        unsafe extern "C" {
            fn __wasm_call_ctors();
        }

        #[unsafe(no_mangle)]
        extern "C" fn _initialize() {
            // SAFETY: the linker makes it; it runs what must run before all else, once.
            unsafe { __wasm_call_ctors() };
            $crate::host::start::<$filter>();
        }
    };
}
