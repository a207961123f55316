//! What a plugin does outside of exchanges: the timer, and the calls that are made when it fires.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::driver::{Plugin, read_answer};
use super::env::{Env, Host, LogLevel};
use super::shared::{Shared, take_turn};
use super::{CallAnswer, Callout, Filter};

/// One plugin in one VM copy, beside its exchanges.
pub struct Root<F: Filter> {
    plugin: Rc<Plugin<F>>,
    /// Tells this VM copy from all others.
    worker: u64,
    timers: Vec<Timer<F>>,
    pending: Vec<Pending>,
}

/// The periodic work of one config object.
struct Timer<F: Filter> {
    config: Rc<F::Config>,
    period: Duration,
    /// On the monotonic clock.
    due: Duration,
}

/// A call that is under way.
struct Pending {
    token: u32,
    /// The place of its timer.
    timer: usize,
    tag: u64,
    max_answer_bytes: usize,
}

/// What a plugin sees when its timer fires, or a call made then is answered.
pub struct TickCx<'a> {
    /// Clock, randomness, metrics, shared data; there is no stream, so no properties of one.
    pub env: &'a dyn Env,
    plugin: &'static str,
    worker: u64,
    calls: Vec<(u64, Callout)>,
}

impl TickCx<'_> {
    /// Calls a service; [`Filter::tick_call`] gets the answer with this `tag`.
    pub fn call(&mut self, tag: u64, callout: Callout) {
        self.calls.push((tag, callout));
    }

    /// Whether this worker is the one that does, in this period, the work that has this name. A worker
    /// that once had the turn keeps it until it is gone; of several config objects with the same name
    /// one has it.
    #[must_use]
    pub fn has_turn(&self, name: &str, period: Duration) -> bool {
        let shared = Shared::new(self.plugin, &format!("turn.{name}"));
        take_turn(&shared, self.env, self.worker, period)
    }
}

impl<F: Filter> Root<F> {
    /// Starts the timer, if a config object asks for one.
    pub fn start(plugin: Rc<Plugin<F>>, host: &dyn Host) -> Self {
        let now = host.monotonic();
        let timer = |config: &Rc<F::Config>| {
            let period = F::period(config)?;
            Some(Timer { config: Rc::clone(config), period, due: now + period })
        };
        let timers: Vec<_> = plugin.configs().filter_map(timer).collect();
        if let Some(shortest) = timers.iter().map(|timer| timer.period).min()
            && let Err(error) = host.tick_every(shortest.max(Duration::from_millis(1)))
        {
            host.log(LogLevel::Error, format_args!("{}: the host gives no timer: {error}", F::NAME));
        }
        Self { plugin, worker: host.random(), timers, pending: Vec::new() }
    }

    /// The plugin, for its exchanges.
    pub fn plugin(&self) -> &Rc<Plugin<F>> {
        &self.plugin
    }

    /// The timer fired.
    pub fn tick(&mut self, host: &dyn Host) {
        let now = host.monotonic();
        for at in 0..self.timers.len() {
            if self.pending.iter().any(|pending| pending.timer == at) {
                continue;
            }
            let Some(timer) = self.timers.get_mut(at) else { continue };
            // The timer runs at the shortest period of all, and never quite on time.
            if now + timer.period / 4 < timer.due {
                continue;
            }
            timer.due = now + timer.period;
            let (config, mut cx) = (Rc::clone(&timer.config), self.cx(host));
            F::tick(&config, &mut cx);
            let calls = cx.calls;
            self.call(host, at, calls);
        }
    }

    /// A call was answered.
    pub fn call_answer(&mut self, host: &dyn Host, token: u32, headers: usize, body_size: usize) {
        let Some(at) = self.pending.iter().position(|pending| pending.token == token) else { return };
        let Pending { timer, tag, max_answer_bytes, .. } = self.pending.swap_remove(at);
        let answer = read_answer(host, headers, body_size, max_answer_bytes);
        let calls = self.answered(host, timer, tag, answer);
        self.call(host, timer, calls);
    }

    fn answered(&self, host: &dyn Host, timer: usize, tag: u64, answer: CallAnswer) -> Vec<(u64, Callout)> {
        let Some(timer) = self.timers.get(timer) else { return Vec::new() };
        let mut cx = self.cx(host);
        F::tick_call(&timer.config, &mut cx, tag, answer);
        cx.calls
    }

    fn call(&mut self, host: &dyn Host, timer: usize, calls: Vec<(u64, Callout)>) {
        let mut calls = VecDeque::from(calls);
        while let Some((tag, callout)) = calls.pop_front() {
            match host.call(&callout) {
                Ok(token) => {
                    let max_answer_bytes = callout.max_answer_bytes;
                    self.pending.push(Pending { token, timer, tag, max_answer_bytes });
                }
                // [rule 9] No callback comes for a call that could not start.
                Err(error) => calls.extend(self.answered(host, timer, tag, CallAnswer::Failed(error))),
            }
        }
    }

    fn cx<'a>(&self, host: &'a dyn Host) -> TickCx<'a> {
        TickCx { env: host, plugin: F::NAME, worker: self.worker, calls: Vec::new() }
    }
}
