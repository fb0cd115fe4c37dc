//! The one rule about repeating a call: only when it certainly was not carried out.
//!
//! That is so when the server refused it in its reply, and when nothing of it left this process.
//! Whatever else went wrong, it may have been carried out. Pure.

use millstream_link::grpc::was_not_sent;
use millstream_types::Epoch;
use tonic::{Response, Status};

use crate::meter::Outcome;
use crate::wire;

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<T> {
    /// It was carried out, and this is the answer.
    Done(T),
    /// It was not carried out: it may be repeated.
    Refused(Refused),
    /// It may have been carried out.
    Unknown(String),
}

/// Why a call was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The server does not hold the group: the route is old, or the server is.
    NotOwner,
    /// The server holds it in this life of its writer.
    WrongEpoch(Epoch),
    /// The server had no room. It is told to whoever asked, and not repeated.
    Overloaded,
    /// Nothing was sent.
    NotSent(String),
}

/// A reply that can say that the call was not carried out.
pub(crate) trait Reply {
    /// Why it was not, if so.
    fn refusal(&self) -> Option<&wire::Refusal>;
}

macro_rules! replies {
    ($($reply:ident, $outcome:ident;)*) => {
        $(
            impl Reply for wire::$reply {
                fn refusal(&self) -> Option<&wire::Refusal> {
                    match &self.outcome {
                        Some(wire::$outcome::Outcome::Refused(refusal)) => Some(refusal),
                        _ => None,
                    }
                }
            }
        )*
    };
}

replies! {
    AppendReply, append_reply;
    ReadReply, read_reply;
    NumberAtReply, number_at_reply;
    StatusReply, status_reply;
    OpenShardsReply, open_shards_reply;
    DropShardsReply, drop_shards_reply;
}

impl Reply for wire::WaitPastReply {
    fn refusal(&self) -> Option<&wire::Refusal> {
        self.refused.as_ref()
    }
}

impl<R: Reply> Verdict<R> {
    /// What became of an attempt with this reply, or without one.
    pub(crate) fn of(replied: Result<Response<R>, Status>) -> Self {
        match replied {
            Ok(reply) => {
                let reply = reply.into_inner();
                Self::of_reply(reply.refusal().cloned().as_ref(), reply)
            },
            Err(status) => Self::of_status(&status),
        }
    }
}

impl<T> Verdict<T> {
    /// As it is counted. What is unknown at last may be a first attempt of a call that is repeated.
    pub(crate) const fn outcome(&self) -> Outcome {
        match self {
            Self::Done(_) => Outcome::Done,
            Self::Unknown(_) => Outcome::Unknown,
            Self::Refused(Refused::Overloaded) => Outcome::Overloaded,
            Self::Refused(Refused::NotSent(_)) => Outcome::NotSent,
            Self::Refused(Refused::NotOwner | Refused::WrongEpoch(_)) => Outcome::Refused,
        }
    }

    /// Of a reply that was either refused or not.
    fn of_reply(refused: Option<&wire::Refusal>, reply: T) -> Self {
        use wire::refusal::Reason;
        match refused {
            None => Self::Done(reply),
            Some(refusal) => match refusal.reason {
                Some(Reason::NotOwner(_)) => Self::Refused(Refused::NotOwner),
                Some(Reason::WrongEpoch(wrong)) => {
                    Self::Refused(Refused::WrongEpoch(Epoch(wrong.current)))
                },
                Some(Reason::Overloaded(_)) => Self::Refused(Refused::Overloaded),
                // A later program refuses for a reason that this one does not know: refused.
                None => Self::Refused(Refused::NotOwner),
            },
        }
    }

    /// Of a call without a reply.
    fn of_status(status: &Status) -> Self {
        if was_not_sent(status) {
            Self::Refused(Refused::NotSent(status.message().to_owned()))
        } else {
            Self::Unknown(status.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_link::grpc::ChannelError;

    use super::*;

    fn refusal(reason: Option<wire::refusal::Reason>) -> Verdict<()> {
        Verdict::of_reply(Some(&wire::Refusal { reason }), ())
    }

    #[test]
    fn a_refusal_in_the_reply_may_be_repeated() {
        use wire::refusal::Reason;
        assert_eq!(Verdict::of_reply(None, 7), Verdict::Done(7));
        assert_eq!(
            refusal(Some(Reason::NotOwner(wire::NotOwner {}))),
            Verdict::Refused(Refused::NotOwner)
        );
        assert_eq!(
            refusal(Some(Reason::WrongEpoch(wire::WrongEpoch { current: 9 }))),
            Verdict::Refused(Refused::WrongEpoch(Epoch(9)))
        );
        assert_eq!(
            refusal(Some(Reason::Overloaded(wire::Overloaded {}))),
            Verdict::Refused(Refused::Overloaded)
        );
        assert_eq!(refusal(None), Verdict::Refused(Refused::NotOwner));
    }

    #[test]
    fn what_was_not_sent_may_be_repeated_and_nothing_else() {
        let not_sent = Status::from(ChannelError::NotSent("refused".to_owned()));
        assert!(matches!(
            Verdict::<()>::of_status(&not_sent),
            Verdict::Refused(_)
        ));
        let broken = ChannelError::Broken {
            to: "a:1".parse().expect("an address"),
            reason: "reset".to_owned(),
        };
        for status in [
            Status::from(broken),
            Status::unavailable("said the server"),
            Status::deadline_exceeded("too late"),
            Status::cancelled("cut"),
            Status::internal("who knows"),
            Status::unknown("who knows"),
            Status::resource_exhausted("said the server"),
        ] {
            let verdict = Verdict::<()>::of_status(&status);
            assert!(matches!(verdict, Verdict::Unknown(_)), "{status}");
        }
    }
}
