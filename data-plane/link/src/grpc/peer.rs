//! Who is calling, and until when: for the handlers of a service.

use tokio::sync::watch;
use tonic::{Request, Status};

use crate::{Identity, PeerIdentity, Role};

/// Who is calling, if it proved it.
///
/// # Errors
/// `UNAUTHENTICATED` when it showed no certificate.
pub fn peer<T>(request: &Request<T>) -> Result<&Identity, Status> {
    request
        .extensions()
        .get::<PeerIdentity>()
        .and_then(PeerIdentity::known)
        .ok_or_else(|| Status::unauthenticated("this call asks for a certificate of a process"))
}

/// Who is calling, if it has one of these roles.
///
/// # Errors
/// `UNAUTHENTICATED` without a certificate, `PERMISSION_DENIED` in another role.
pub fn require<'a, T>(request: &'a Request<T>, roles: &[Role]) -> Result<&'a Identity, Status> {
    let identity = peer(request)?;
    if roles.contains(&identity.role()) {
        Ok(identity)
    } else {
        let text = format!("the role {} may not call this", identity.role());
        Err(Status::permission_denied(text))
    }
}

/// When a call should come to an end by itself: the server ends, or the connection. For calls that
/// only wait, or that would run for ever.
#[derive(Clone, Debug)]
pub struct Ending(Option<watch::Receiver<bool>>);

impl Ending {
    pub(crate) const fn new(ending: watch::Receiver<bool>) -> Self {
        Self(Some(ending))
    }

    /// Waits for it.
    pub async fn wait(&mut self) {
        if let Some(ending) = &mut self.0 {
            // without a sender there is no connection any more
            drop(ending.wait_for(|ending| *ending).await);
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// When this call should come to an end. Where it came over no connection of [`serve`](super::serve()),
/// never.
#[must_use]
pub fn ending<T>(request: &Request<T>) -> Ending {
    let given = request.extensions().get::<Ending>();
    given.cloned().unwrap_or(Ending(None))
}
