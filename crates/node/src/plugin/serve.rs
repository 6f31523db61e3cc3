//! Plugins on sockets: one for each resource, registered with the kubelet as long as both live.
//!
//! The kubelet deletes every socket in its folder when it starts, and forgets who registered. So each plugin looks from time
//! to time whether its own socket and the kubelet's are still those that it knows: another kubelet's is registered with
//! anew, a lost one of its own is made anew and then registered.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};

use super::allocate::{Tell, allocate, preferred};
use super::api::{
    self, AllocateRequest, AllocateResponse, ContainerPreferredAllocationResponse, Device, DevicePlugin,
    DevicePluginOptions, DevicePluginServer, Empty, ListAndWatchResponse, NumaNode, PreStartContainerRequest,
    PreStartContainerResponse, PreferredAllocationRequest, PreferredAllocationResponse, RegisterRequest,
    RegistrationClient, TopologyInfo,
};
use super::inventory::{Inventory, ResourceName};
use super::socket::{self, Identity};

/// Where the kubelet looks for plugins, unless its root folder was moved.
pub const KUBELET_FOLDER: &str = "/var/lib/kubelet/device-plugins";
const KUBELET_SOCKET: &str = "kubelet.sock";
/// LIMIT: how long a registration may take. The kubelet calls back while it answers.
const REGISTER: Duration = Duration::from_secs(10);
/// LIMIT: how long open calls may take when a plugin ends. Lists end by themselves.
const GRACE: Duration = Duration::from_secs(2);
/// LIMIT: lists that wait to be read; a kubelet that reads none delays its own news alone.
const QUEUE: usize = 4;

/// How plugins behave.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The kubelet's folder.
    pub folder: PathBuf,
    /// What containers are told.
    pub tell: Tell,
    /// How often sockets are looked at, and how long after a failure it is tried again.
    pub every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { folder: KUBELET_FOLDER.into(), tell: Tell::default(), every: Duration::from_secs(1) }
    }
}

/// What happened to a plugin.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The kubelet knows it.
    Registered,
    /// The kubelet did not take it; it will be tried again.
    NotRegistered(Box<dyn std::error::Error + Send + Sync>),
    /// Its socket is gone or another's; it is made anew.
    SocketLost,
    /// It cannot listen; it will be tried again.
    NotListening(io::Error),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered => f.write_str("registered with the kubelet"),
            Self::NotRegistered(error) => {
                write!(f, "not registered with the kubelet: {error}")?;
                let mut source = error.source();
                while let Some(error) = source {
                    write!(f, ": {error}")?;
                    source = error.source();
                }
                Ok(())
            }
            Self::SocketLost => f.write_str("its socket was removed, and is made anew"),
            Self::NotListening(error) => write!(f, "cannot listen: {error}"),
        }
    }
}

/// Who hears of events. Called from several tasks; a failure that repeats itself is told once.
pub type Listener = Arc<dyn Fn(&ResourceName, Event) + Send + Sync>;

/// Serves every resource of an inventory, as it changes, until `stop` says so or nobody changes the inventory any more.
///
/// A resource whose last device goes away stays, with no devices, so that the kubelet hears of it.
pub async fn serve(
    settings: Settings,
    mut inventory: watch::Receiver<Arc<Inventory>>,
    mut stop: watch::Receiver<bool>,
    listener: Listener,
) {
    let mut known = BTreeSet::new();
    let mut plugins = JoinSet::new();
    let (end, ended) = watch::channel(false);
    loop {
        let names: Vec<ResourceName> = inventory.borrow_and_update().offers.keys().cloned().collect();
        for resource in names {
            if known.insert(resource.clone()) {
                let plugin = Plugin {
                    resource,
                    settings: settings.clone(),
                    inventory: inventory.clone(),
                    stop: ended.clone(),
                    listener: Arc::clone(&listener),
                    told: None,
                };
                plugins.spawn(plugin.run());
            }
        }
        tokio::select! {
            changed = inventory.changed() => if changed.is_err() { break },
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    // Nobody may be left to hear it.
    let _ = end.send(true);
    while plugins.join_next().await.is_some() {}
}

struct Plugin {
    resource: ResourceName,
    settings: Settings,
    inventory: watch::Receiver<Arc<Inventory>>,
    stop: watch::Receiver<bool>,
    listener: Listener,
    /// The last event, in words.
    told: Option<String>,
}

/// Why a plugin's socket is given up.
enum Ended {
    Stop,
    Lost,
}

impl Plugin {
    /// A failure that repeats itself, as all do that are tried again every second, is told once.
    fn tell(&mut self, event: Event) {
        let text = event.to_string();
        let again = self.told.as_ref() == Some(&text);
        if !again || matches!(event, Event::Registered | Event::SocketLost) {
            (self.listener)(&self.resource, event);
        }
        self.told = Some(text);
    }

    /// The name of its socket: of the resource, without what would be a folder.
    fn socket_name(&self) -> String {
        format!("casemate-{}.sock", self.resource.short())
    }

    async fn run(mut self) {
        loop {
            match self.session().await {
                Ok(Ended::Stop) => return,
                Ok(Ended::Lost) => self.tell(Event::SocketLost),
                Err(error) => {
                    self.tell(Event::NotListening(error));
                    tokio::select! {
                        () = sleep(self.settings.every) => {}
                        _ = self.stop.wait_for(|stop| *stop) => return,
                    }
                }
            }
        }
    }

    /// From making the socket until it is lost, or the end.
    async fn session(&mut self) -> io::Result<Ended> {
        let path = self.settings.folder.join(self.socket_name());
        socket::remove(&path)?;
        let listener = UnixListener::bind(&path)?;
        let own = Identity::of(&path);
        let (end, ended) = watch::channel(false);
        let service = Service {
            resource: self.resource.clone(),
            inventory: self.inventory.clone(),
            tell: self.settings.tell,
            ended: ended.clone(),
        };
        let mut ended = ended;
        let mut server = tokio::spawn(Server::builder().serve_with_incoming_shutdown(
            DevicePluginServer::new(service),
            UnixListenerStream::new(listener),
            async move {
                // An error means that the sender is gone, which is the end as well.
                let _ = ended.wait_for(|ended| *ended).await;
            },
        ));
        let result = self.stay_registered(&path, own, &mut server).await;
        // The lists end first, so that the server has nothing left to wait for.
        let _ = end.send(true);
        if timeout(GRACE, &mut server).await.is_err() {
            server.abort();
        }
        if Identity::of(&path) == own {
            socket::remove(&path)?;
        }
        Ok(result)
    }

    async fn stay_registered(
        &mut self,
        path: &Path,
        own: Option<Identity>,
        server: &mut JoinHandle<Result<(), tonic::transport::Error>>,
    ) -> Ended {
        let kubelet = self.settings.folder.join(KUBELET_SOCKET);
        let mut registered = None;
        let mut ticks = interval(self.settings.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return Ended::Stop,
                ended = &mut *server => {
                    let _: Result<_, JoinError> = ended;
                    return Ended::Lost;
                }
                _ = ticks.tick() => {}
            }
            if own.is_none() || Identity::of(path) != own {
                return Ended::Lost;
            }
            let now = Identity::of(&kubelet);
            if now == registered {
                continue;
            }
            registered = None;
            if now.is_none() {
                // No kubelet; when there is one again it will not know us.
                continue;
            }
            match timeout(REGISTER, self.register(&kubelet)).await {
                Ok(Ok(())) => {
                    registered = now;
                    self.tell(Event::Registered);
                }
                Ok(Err(error)) => self.tell(Event::NotRegistered(error)),
                Err(late) => self.tell(Event::NotRegistered(Box::new(late))),
            }
        }
    }

    async fn register(&self, kubelet: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let channel = Endpoint::from_shared(format!("unix:{}", kubelet.display()))?.connect().await?;
        let request = RegisterRequest {
            version: api::VERSION.to_owned(),
            endpoint: self.socket_name(),
            resource_name: self.resource.to_string(),
            options: Some(OPTIONS),
        };
        RegistrationClient::new(channel).register(request).await?;
        Ok(())
    }
}

const OPTIONS: DevicePluginOptions =
    DevicePluginOptions { pre_start_required: false, get_preferred_allocation_available: true };

/// What the kubelet calls.
struct Service {
    resource: ResourceName,
    inventory: watch::Receiver<Arc<Inventory>>,
    tell: Tell,
    ended: watch::Receiver<bool>,
}

/// All devices of a resource.
fn list(inventory: &Inventory, resource: &ResourceName) -> ListAndWatchResponse {
    let units = inventory.offers.get(resource).map(|offer| offer.units.as_slice()).unwrap_or_default();
    let devices = units.iter().map(|unit| Device {
        id: unit.id.to_string(),
        health: if unit.unfit.is_none() { api::HEALTHY } else { api::UNHEALTHY }.to_owned(),
        topology: (!unit.numa.is_empty())
            .then(|| TopologyInfo { nodes: unit.numa.iter().map(|id| NumaNode { id: i64::from(*id) }).collect() }),
    });
    ListAndWatchResponse { devices: devices.collect() }
}

#[tonic::async_trait]
impl DevicePlugin for Service {
    async fn get_device_plugin_options(&self, _: Request<Empty>) -> Result<Response<DevicePluginOptions>, Status> {
        Ok(Response::new(OPTIONS))
    }

    type ListAndWatchStream = ReceiverStream<Result<ListAndWatchResponse, Status>>;

    async fn list_and_watch(&self, _: Request<Empty>) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let (lists, stream) = mpsc::channel(QUEUE);
        let (mut inventory, mut ended) = (self.inventory.clone(), self.ended.clone());
        let resource = self.resource.clone();
        tokio::spawn(async move {
            let mut last = None;
            loop {
                let now = list(&inventory.borrow_and_update(), &resource);
                if last.as_ref() != Some(&now) {
                    if lists.send(Ok(now.clone())).await.is_err() {
                        return;
                    }
                    last = Some(now);
                }
                tokio::select! {
                    changed = inventory.changed() => if changed.is_err() { return },
                    _ = ended.wait_for(|ended| *ended) => return,
                    () = lists.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        let inventory = Arc::clone(&self.inventory.borrow());
        let offer = inventory.offers.get(&self.resource).cloned().unwrap_or_default();
        let responses = request.into_inner().container_requests.into_iter().map(|wanted| {
            let size = usize::try_from(wanted.allocation_size).unwrap_or_default();
            let ids = preferred(&offer, &wanted.available_device_i_ds, &wanted.must_include_device_i_ds, size);
            ContainerPreferredAllocationResponse { device_i_ds: ids }
        });
        Ok(Response::new(PreferredAllocationResponse { container_responses: responses.collect() }))
    }

    async fn allocate(&self, request: Request<AllocateRequest>) -> Result<Response<AllocateResponse>, Status> {
        let inventory = Arc::clone(&self.inventory.borrow());
        let requests = request.into_inner().container_requests;
        let responses = requests
            .iter()
            .map(|wanted| allocate(&inventory, &self.resource, &wanted.devices_ids, self.tell))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|refusal| Status::failed_precondition(refusal.to_string()))?;
        Ok(Response::new(AllocateResponse { container_responses: responses }))
    }

    async fn pre_start_container(
        &self,
        _: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        Ok(Response::new(PreStartContainerResponse {}))
    }
}
