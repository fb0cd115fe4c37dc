//! What the calls have in common: a request names who is meant, and its reply can refuse it.

use crate::wire;

/// A request, and the reply that goes with it.
pub(super) trait Call {
    /// Its reply.
    type Reply;

    /// Who is meant.
    fn target(&self) -> Option<&wire::Target>;

    /// The reply that it was not carried out.
    fn refused(refusal: wire::Refusal) -> Self::Reply;
}

macro_rules! calls {
    ($($request:ident => $reply:ident, $refused:expr;)*) => {
        $(
            impl Call for wire::$request {
                type Reply = wire::$reply;

                fn target(&self) -> Option<&wire::Target> {
                    self.target.as_ref()
                }

                fn refused(refusal: wire::Refusal) -> wire::$reply {
                    $refused(refusal)
                }
            }
        )*
    };
}

calls! {
    AppendRequest => AppendReply, |refusal| wire::AppendReply {
        outcome: Some(wire::append_reply::Outcome::Refused(refusal)),
    };
    ReadRequest => ReadReply, |refusal| wire::ReadReply {
        outcome: Some(wire::read_reply::Outcome::Refused(refusal)),
    };
    NumberAtRequest => NumberAtReply, |refusal| wire::NumberAtReply {
        outcome: Some(wire::number_at_reply::Outcome::Refused(refusal)),
    };
    StatusRequest => StatusReply, |refusal| wire::StatusReply {
        outcome: Some(wire::status_reply::Outcome::Refused(refusal)),
    };
    WaitPastRequest => WaitPastReply, |refusal| wire::WaitPastReply {
        refused: Some(refusal),
    };
    OpenShardsRequest => OpenShardsReply, |refusal| wire::OpenShardsReply {
        outcome: Some(wire::open_shards_reply::Outcome::Refused(refusal)),
        lost: Vec::new(),
    };
    DropShardsRequest => DropShardsReply, |refusal| wire::DropShardsReply {
        outcome: Some(wire::drop_shards_reply::Outcome::Refused(refusal)),
    };
}
