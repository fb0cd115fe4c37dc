//! Who is calling: for the handlers of a service.

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
