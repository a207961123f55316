//! The allocator of a plugin: small blocks from lists of their size, all else from the system's.
//!
//! A request takes some dozen small blocks and gives them back, and the system's allocator, made for every
//! need, takes a noticeable part of a plugin's time for them. Blocks never change their size class, so what
//! they occupy is bounded by the most that was in use of each size at one time.
#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

/// Sizes of one class are equal when rounded up to this; the alignment of every small block.
const STEP: usize = 16;
/// Larger blocks are the system's business.
const LARGEST: usize = 1024;
const CLASSES: usize = LARGEST / STEP;
/// How much is asked of the system at a time, to be cut into blocks.
const SLAB: usize = 16 * 1024;

/// The allocator.
pub(super) struct Pool {
    /// For each class the first free block, which holds the address of the next.
    free: [Cell<*mut u8>; CLASSES],
    /// What is left of the newest slab.
    slab: Cell<*mut u8>,
    left: Cell<usize>,
}

// SAFETY: a Wasm VM runs one thread, and none can be started in it.
unsafe impl Sync for Pool {}

impl Pool {
    /// Owns nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            free: [const { Cell::new(ptr::null_mut()) }; CLASSES],
            slab: Cell::new(ptr::null_mut()),
            left: Cell::new(0),
        }
    }

    /// The list of a layout; `None` for what is the system's business.
    #[inline]
    fn list(&self, layout: Layout) -> Option<&Cell<*mut u8>> {
        if layout.align() > STEP {
            return None;
        }
        // A size of zero never comes here, and would wrap to no class.
        self.free.get(layout.size().wrapping_sub(1) / STEP)
    }

    /// A block that was never used.
    #[cold]
    fn cut(&self, size: usize) -> *mut u8 {
        let size = size.next_multiple_of(STEP);
        if self.left.get() < size {
            // SAFETY: the layout is not empty, and its alignment is a power of two.
            let slab = unsafe { System.alloc(Layout::from_size_align_unchecked(SLAB, STEP)) };
            if slab.is_null() {
                return slab;
            }
            self.slab.set(slab);
            self.left.set(SLAB);
        }
        let block = self.slab.get();
        self.left.set(self.left.get() - size);
        // SAFETY: the slab has at least `size` bytes left.
        self.slab.set(unsafe { block.add(size) });
        block
    }
}

// SAFETY: a block is in a list or handed out, never both; it has its class's size, which is no less than
// the layout's, and every block begins at a multiple of `STEP`.
unsafe impl GlobalAlloc for Pool {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(list) = self.list(layout) else {
            // SAFETY: the caller's promises are handed on.
            return unsafe { System.alloc(layout) };
        };
        let block = list.get();
        if block.is_null() {
            return self.cut(layout.size());
        }
        // SAFETY: a free block begins with the address of the next, written by `dealloc`.
        list.set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(list) = self.list(layout) else {
            // SAFETY: the caller's promises are handed on; `alloc` came to the same decision.
            return unsafe { System.dealloc(block, layout) };
        };
        // SAFETY: the block is at least `STEP` bytes, aligned for an address, and nobody's any more.
        unsafe { block.cast::<*mut u8>().write(list.get()) };
        list.set(block);
    }
    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size is one that a layout may have.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if self.list(layout).is_none() && self.list(new).is_none() {
            // SAFETY: the caller's promises are handed on; the system has the block.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: as for any allocation; both blocks have at least the smaller of the two sizes.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
