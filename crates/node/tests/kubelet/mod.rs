//! A stand-in for the kubelet: its side of the device plugin protocol, over the sockets that the real one uses.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use node::plugin::api::{
    AllocateRequest, AllocateResponse, ContainerAllocateRequest, ContainerPreferredAllocationRequest,
    DevicePluginOptions, Empty, ListAndWatchResponse, PreferredAllocationRequest, RegisterRequest, VERSION,
};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

#[rustfmt::skip]
#[expect(clippy::module_inception, reason = "generated code")]
mod device_plugin_client;
#[rustfmt::skip]
#[expect(clippy::module_inception, clippy::pedantic, reason = "generated code")]
mod registration_server;

use device_plugin_client::device_plugin_client::DevicePluginClient;
use registration_server::registration_server::{Registration, RegistrationServer};

/// LIMIT: how long a test waits for what must come. It asserts that something comes, never how fast.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what must come.
pub(crate) async fn must<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} within {PATIENCE:?}"))
}

/// A running kubelet.
pub(crate) struct Kubelet {
    folder: PathBuf,
    registrations: mpsc::UnboundedReceiver<RegisterRequest>,
    server: JoinHandle<()>,
}

impl Kubelet {
    /// Starts as the real one does: it removes every socket in its folder first.
    pub(crate) fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        for entry in std::fs::read_dir(folder).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        Self::start_beside(folder, 0)
    }

    /// Starts without removing sockets of plugins, and turns the first few registrations away.
    pub(crate) fn start_beside(folder: &Path, refuse: usize) -> Self {
        let path = folder.join("kubelet.sock");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let (seen, registrations) = mpsc::unbounded_channel();
        let service = Service { folder: folder.to_owned(), seen, refuse: Arc::new(AtomicUsize::new(refuse)) };
        let serve =
            Server::builder().serve_with_incoming(RegistrationServer::new(service), UnixListenerStream::new(listener));
        let server = tokio::spawn(async move { serve.await.unwrap() });
        Self { folder: folder.to_owned(), registrations, server }
    }

    /// The next plugin that registers.
    pub(crate) async fn registered(&mut self) -> RegisterRequest {
        must("registration", self.registrations.recv()).await.unwrap()
    }

    /// Whether nobody registered since the last that was asked for.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.registrations.try_recv().is_err()
    }

    /// The plugin of a resource, once it registered.
    pub(crate) async fn plugin(&mut self, resource: &str) -> Plugin {
        loop {
            let request = self.registered().await;
            if request.resource_name == resource {
                return Plugin::connect(&self.folder.join(request.endpoint)).await.unwrap();
            }
        }
    }

    /// Ends as a killed one does: its socket stays.
    pub(crate) async fn kill(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

struct Service {
    folder: PathBuf,
    seen: mpsc::UnboundedSender<RegisterRequest>,
    refuse: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Registration for Service {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        if self.refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Status::unavailable("not yet"));
        }
        let request = request.into_inner();
        assert_eq!(request.version, VERSION);
        // The real one calls back at once, so a plugin has to listen before it registers.
        let mut plugin = Plugin::connect(&self.folder.join(&request.endpoint)).await.map_err(Status::from_error)?;
        let options = plugin.client.get_device_plugin_options(Empty {}).await?.into_inner();
        assert_eq!(request.options, Some(options));
        let _ = self.seen.send(request);
        Ok(Response::new(Empty {}))
    }
}

/// A connection to a plugin.
pub(crate) struct Plugin {
    pub(crate) client: DevicePluginClient<Channel>,
}

impl Plugin {
    async fn connect(path: &Path) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let channel = Endpoint::from_shared(format!("unix:{}", path.display()))?.connect().await?;
        Ok(Self { client: DevicePluginClient::new(channel) })
    }

    pub(crate) async fn options(&mut self) -> DevicePluginOptions {
        self.client.get_device_plugin_options(Empty {}).await.unwrap().into_inner()
    }

    pub(crate) async fn watch(&mut self) -> Lists {
        Lists(self.client.list_and_watch(Empty {}).await.unwrap().into_inner())
    }

    pub(crate) async fn allocate(&mut self, ids: &[&str]) -> Result<AllocateResponse, Status> {
        let devices_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let request = AllocateRequest { container_requests: vec![ContainerAllocateRequest { devices_ids }] };
        self.client.allocate(request).await.map(Response::into_inner)
    }

    pub(crate) async fn preferred(&mut self, available: &[&str], must: &[&str], size: i32) -> Vec<String> {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let request = ContainerPreferredAllocationRequest {
            available_device_i_ds: owned(available),
            must_include_device_i_ds: owned(must),
            allocation_size: size,
        };
        let request = PreferredAllocationRequest { container_requests: vec![request] };
        let response = self.client.get_preferred_allocation(request).await.unwrap().into_inner();
        response.container_responses.into_iter().next().unwrap().device_i_ds
    }
}

/// What a plugin lists, as it changes.
pub(crate) struct Lists(Streaming<ListAndWatchResponse>);

impl Lists {
    /// The next list: ids, each with `+` where it is healthy and `-` where it is not.
    pub(crate) async fn next(&mut self) -> Vec<String> {
        let list = must("list", self.0.message()).await.unwrap().expect("the list has ended");
        let sign = |health: &str| match health {
            "Healthy" => '+',
            "Unhealthy" => '-',
            other => panic!("{other} is no health"),
        };
        list.devices.iter().map(|device| format!("{}{}", sign(&device.health), device.id)).collect()
    }

    /// Waits for a list, passing over those before it.
    pub(crate) async fn until(&mut self, expected: &[&str]) {
        while self.next().await != expected {}
    }

    /// The first list as it is.
    pub(crate) async fn raw(&mut self) -> ListAndWatchResponse {
        must("list", self.0.message()).await.unwrap().expect("the list has ended")
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) {
        must("end of the list", async { while let Ok(Some(_)) = self.0.message().await {} }).await;
    }
}
