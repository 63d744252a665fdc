//! One agent of NIXL's, in words of Rust: every call of the C interface is here.

#![expect(unsafe_code, reason = "NIXL's C interface takes and gives pointers")]

use std::ffi::{CStr, CString, c_char, c_uint, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

use super::capi::{self, CAgent, CBackend, CConfig, CNotifications, COptions, CParams, CRegions, CRequest, CSpans};
use super::capi::{Interface, Status, guarded};
use super::memory::{Memory, MemoryKind};
use super::metadata::Metadata;
use super::owned::{Owned, done, failed};

/// Calls one function of the interface. The pointers it is given are live handles of this interface, or places to write to.
macro_rules! call {
    ($interface:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        let interface: &Interface = $interface;
        // SAFETY: handles come from the interface itself and have not been given back, since each has one owner that gives it back
        // when it is dropped; names end in a zero; lengths are those of slices; results are written to locals of this frame.
        guarded(|| unsafe { (interface.$name)($($argument),*) })
    }};
}

/// An agent of NIXL's with one backend. Dropping it closes every connection.
pub(super) struct Session {
    interface: Arc<Interface>,
    notifications: Owned<CNotifications>,
    /// What stands for the backend; the backend itself is the agent's.
    _backend: Owned<CBackend>,
    agent: Owned<CAgent>,
}

// SAFETY: the agent was made for callers of any thread, one at a time (`ONE_THREAD_AT_A_TIME`, with which UCX's workers are made
// "serialized"), and a `Session` is used by `&mut`, or by `&` in the thread that has it, because it is not `Sync`.
unsafe impl Send for Session {}

/// A transfer that NIXL knows. It is given back by [`Session::release`]; one that is not is leaked.
pub(super) struct Request(NonNull<CRequest>);

// SAFETY: it is a name that means something only to the session that made it.
unsafe impl Send for Request {}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    InFlight,
    Done,
    Failed(Status),
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Direction {
    /// From the peer's memory to ours.
    Read,
    /// From our memory to the peer's.
    Write,
}

impl Session {
    /// An agent of this name without threads of NIXL's own, and its backend.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when the backend cannot be had, [`ErrorKind::Internal`] when the agent cannot.
    pub(super) fn new<'a>(
        interface: Arc<Interface>,
        name: &CStr,
        backend: &CStr,
        params: impl Iterator<Item = (&'a CStr, &'a CStr)>,
    ) -> Result<Self> {
        let config = CConfig {
            progress_thread: false,
            listen_thread: false,
            listen_port: 0,
            thread_sync: capi::ONE_THREAD_AT_A_TIME,
            workers: 1,
            progress_delay_us: 0,
            listen_delay_us: 0,
            telemetry: false,
        };
        let it = &*interface;
        let agent = Owned::new(
            |place| call!(it, create_configured_agent(name.as_ptr(), &config, place)),
            it.destroy_agent,
            "an agent",
        )?;
        let list: Owned<CParams> =
            Owned::new(|place| call!(it, create_params(place)), it.destroy_params, "a list of parameters")?;
        for (key, value) in params {
            let status = call!(it, params_add(list.get(), key.as_ptr(), value.as_ptr()));
            done(status, format_args!("cannot set {key:?}"))?;
        }
        let handle = Owned::new(
            |place| call!(it, create_backend(agent.get(), backend.as_ptr(), list.get(), place)),
            it.destroy_backend,
            "a backend",
        );
        let backend = handle.map_err(|error| {
            Error::new(ErrorKind::Unsupported, format!("NIXL has no backend {backend:?} here")).with_source(error)
        })?;
        let notifications =
            Owned::new(|place| call!(it, create_notif_map(place)), it.destroy_notif_map, "a list of notifications")?;
        Ok(Self { interface, notifications, _backend: backend, agent })
    }

    /// Lets peers read and write `memory`, and transfers of ours name it.
    pub(super) fn register(&mut self, memory: &Memory) -> Result<()> {
        let regions = listed(&self.interface, memory)?;
        let status = call!(&self.interface, register_mem(self.agent.get(), regions.get(), ptr::null_mut()));
        done(status, format_args!("cannot register {memory:?}"))
    }

    /// Takes that back.
    pub(super) fn deregister(&mut self, memory: &Memory) -> Result<()> {
        let regions = listed(&self.interface, memory)?;
        let status = call!(&self.interface, deregister_mem(self.agent.get(), regions.get(), ptr::null_mut()));
        done(status, format_args!("cannot deregister {memory:?}"))
    }

    /// How peers reach this agent and what it has registered, in NIXL's own form.
    pub(super) fn metadata(&self) -> Result<Vec<u8>> {
        let (mut bytes, mut len) = (ptr::null_mut(), 0);
        let status = call!(&self.interface, get_local_md(self.agent.get(), &mut bytes, &mut len));
        done(status, "cannot tell this agent's metadata")?;
        let Some(bytes) = NonNull::new(bytes) else { return Ok(Vec::new()) };
        // SAFETY: NIXL allocated `len` bytes there for us and has filled them.
        let copied = unsafe { slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), len) }.to_vec();
        // SAFETY: they were allocated by `malloc`, and nothing points to them any more.
        unsafe { capi::free(bytes.as_ptr()) };
        Ok(copied)
    }

    /// Makes a peer known by its metadata, and gives the name it has there.
    pub(super) fn load(&mut self, metadata: &Metadata) -> Result<CString> {
        // NIXL believes every length in it: that it may is what a `Metadata` vouches for.
        let metadata = metadata.as_bytes();
        let mut name = ptr::null_mut();
        let status = call!(
            &self.interface,
            load_remote_md(self.agent.get(), metadata.as_ptr().cast(), metadata.len(), &mut name)
        );
        let Some(name) = NonNull::<c_char>::new(name).filter(|_| status == Status::DONE) else {
            return Err(failed(status, "cannot use a peer's metadata"));
        };
        // SAFETY: NIXL made a string there, which ends in a zero.
        let copied = unsafe { CStr::from_ptr(name.as_ptr()) }.to_owned();
        // SAFETY: it was allocated by `malloc`, and nothing points to it any more.
        unsafe { capi::free(name.as_ptr().cast()) };
        Ok(copied)
    }

    /// Closes the connection to a peer and forgets its metadata.
    pub(super) fn forget(&mut self, peer: &CStr) {
        // It says only whether the peer was known.
        let _known = call!(&self.interface, invalidate_remote_md(self.agent.get(), peer.as_ptr()));
    }

    /// Whether NIXL has a peer's metadata: it drops that when the peer is lost.
    pub(super) fn knows(&self, peer: &CStr) -> bool {
        let status =
            call!(&self.interface, check_remote_md(self.agent.get(), peer.as_ptr(), ptr::null_mut::<CSpans>()));
        status == Status::DONE
    }

    /// An empty list for `kind` of memory of `device`.
    pub(super) fn spans(&self, kind: MemoryKind, device: u64) -> Result<Spans<'_>> {
        let it = &*self.interface;
        let list = Owned::new(
            |place| call!(it, create_xfer_dlist(c_kind(kind), place)),
            it.destroy_xfer_dlist,
            "a list of spans",
        )?;
        Ok(Spans { interface: it, list, device })
    }

    /// Makes a transfer of as many spans on both sides, of the same lengths. A notification goes to the peer when it has ended well.
    pub(super) fn prepare(
        &self,
        direction: Direction,
        ours: &Spans<'_>,
        peer: &CStr,
        theirs: &Spans<'_>,
        notification: Option<&[u8]>,
    ) -> Result<Request> {
        let options = notification.map(|message| notifying(&self.interface, message)).transpose()?;
        let operation = match direction {
            Direction::Read => capi::READ,
            Direction::Write => capi::WRITE,
        };
        let mut request = ptr::null_mut();
        let status = call!(
            &self.interface,
            create_xfer_req(
                self.agent.get(),
                operation,
                ours.list.get(),
                theirs.list.get(),
                peer.as_ptr(),
                &mut request,
                options.as_ref().map_or(ptr::null_mut(), Owned::get),
            )
        );
        match NonNull::new(request) {
            Some(request) if status == Status::DONE => Ok(Request(request)),
            // NIXL gives one status for everything, the peer's unregistered memory above all.
            _ => Err(Error::new(
                ErrorKind::Invalid,
                format!("NIXL refuses the transfer, as for memory that {peer:?} has not registered: {status}"),
            )),
        }
    }

    /// Starts a transfer.
    ///
    /// # Safety
    ///
    /// Our side's spans lie in memory that stays as [`Memory::new`] asks until this session is dropped, or until the transfer is
    /// [`Progress::Done`].
    pub(super) unsafe fn post(&mut self, request: &Request) -> Progress {
        progress(call!(
            &self.interface,
            post_xfer_req(self.agent.get(), request.0.as_ptr(), ptr::null_mut::<COptions>())
        ))
    }

    /// How far a transfer is.
    pub(super) fn progress(&mut self, request: &Request) -> Progress {
        progress(call!(&self.interface, get_xfer_status(self.agent.get(), request.0.as_ptr())))
    }

    /// Gives a transfer back; `Err` gives it to the caller again, when NIXL wants to keep it for now.
    pub(super) fn release(&mut self, request: Request) -> Result<(), Request> {
        let status = call!(&self.interface, release_xfer_req(self.agent.get(), request.0.as_ptr()));
        if status != Status::DONE {
            return Err(request);
        }
        call!(&self.interface, destroy_xfer_req(request.0.as_ptr()));
        Ok(())
    }

    /// Sends bytes to a peer, by themselves.
    pub(super) fn notify(&mut self, peer: &CStr, message: &[u8]) -> Result<()> {
        let status = call!(
            &self.interface,
            gen_notif(
                self.agent.get(),
                peer.as_ptr(),
                message.as_ptr().cast(),
                message.len(),
                ptr::null_mut::<COptions>(),
            )
        );
        done(status, format_args!("cannot notify {peer:?}"))
    }

    /// Goes on with what is in flight, and hands `heard` every notification that has come: who sent it, and its bytes.
    pub(super) fn hear(&mut self, mut heard: impl FnMut(&CStr, &[u8])) -> Result<()> {
        let (interface, list) = (&self.interface, self.notifications.get());
        let status = call!(interface, get_notifs(self.agent.get(), list, ptr::null_mut::<COptions>()));
        let mut peers = 0;
        call!(interface, notif_map_size(list, &mut peers));
        for peer in 0..peers {
            let mut name: *const c_char = ptr::null();
            if call!(interface, notif_map_get_agent_at(list, peer, &mut name)) != Status::DONE || name.is_null() {
                continue;
            }
            let mut messages = 0;
            // A name with a zero in it is not found by what stands before that; then there are no messages.
            call!(interface, notif_map_get_notifs_size(list, name, &mut messages));
            for message in 0..messages {
                let (mut bytes, mut len): (*const c_void, _) = (ptr::null(), 0);
                let status = call!(interface, notif_map_get_notif(list, name, message, &mut bytes, &mut len));
                if status == Status::DONE && !bytes.is_null() {
                    // SAFETY: the list holds this name and these bytes until it is cleared, below.
                    heard(unsafe { CStr::from_ptr(name) }, unsafe { slice::from_raw_parts(bytes.cast(), len) });
                }
            }
        }
        call!(interface, notif_map_clear(list));
        done(status, "cannot take notifications")
    }
}

fn progress(status: Status) -> Progress {
    match status {
        Status::DONE => Progress::Done,
        Status::IN_PROGRESS => Progress::InFlight,
        failed => Progress::Failed(failed),
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Addresses and lengths on one side of a transfer.
pub(super) struct Spans<'a> {
    interface: &'a Interface,
    list: Owned<CSpans>,
    device: u64,
}

impl Spans<'_> {
    /// One more.
    pub(super) fn push(&mut self, address: usize, len: usize) -> Result<()> {
        let status = call!(self.interface, xfer_dlist_add_desc(self.list.get(), address, len, self.device));
        done(status, "cannot list a span")
    }
}

/// The options of a transfer that ends with a notification.
fn notifying(it: &Interface, message: &[u8]) -> Result<Owned<COptions>> {
    let options = Owned::new(|place| call!(it, create_opt_args(place)), it.destroy_opt_args, "a list of options")?;
    let status = call!(it, opt_args_set_notif_msg(options.get(), message.as_ptr().cast(), message.len()));
    done(status, "cannot attach a notification")?;
    let status = call!(it, opt_args_set_has_notif(options.get(), true));
    done(status, "cannot attach a notification")?;
    Ok(options)
}

/// A list of one range of memory, as it is registered.
fn listed(it: &Interface, memory: &Memory) -> Result<Owned<CRegions>> {
    let kind = c_kind(memory.kind());
    let list = Owned::new(|place| call!(it, create_reg_dlist(kind, place)), it.destroy_reg_dlist, "a list of memory")?;
    let (address, len) = (memory.address() as usize, memory.len() as usize);
    let status = call!(it, reg_dlist_add_desc(list.get(), address, len, memory.device(), ptr::null(), 0));
    done(status, "cannot list memory")?;
    Ok(list)
}

fn c_kind(kind: MemoryKind) -> c_uint {
    match kind {
        MemoryKind::Host => capi::HOST,
        MemoryKind::Device => capi::DEVICE,
    }
}
