//! The page and the management API: a listener of their own, behind the limits of the other.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use super::explain;
use crate::config::Config;
use crate::http::transport::{Listener, TransportOptions};
use crate::management::Management;
use crate::ui::{self, Ui};

/// Takes the port, if there is to be a page.
pub fn bind(config: &Config) -> anyhow::Result<Option<Listener>> {
    let Some(address) = config.server.ui_address() else {
        return Ok(None);
    };
    let listener = Listener::bind(address).map_err(|error| {
        explain(
            error,
            "[server] ui_port (variable DRIFT_SERVER_UI_PORT), or ui_enabled to false",
        )
    })?;
    Ok(Some(listener))
}

/// Serves until told to stop.
pub fn serve(
    listener: Option<Listener>,
    api_port: u16,
    management: Management,
    transport: &TransportOptions,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let ui = Ui {
        management,
        api_port,
    };
    let (transport, stop) = (transport.clone(), stop.clone().cancelled_owned());
    async move {
        if let Some(listener) = listener {
            let address = listener.address();
            tracing::info!(%address, "serving the page");
            listener.serve(ui::router(ui), transport, stop).await;
        }
    }
}
