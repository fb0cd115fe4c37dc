//! Bounds how long a call to the API server takes: a layer around the client's transport.
//!
//! Without it one that is never answered would hold whoever waits for it, for as long as this
//! process leads. A watch waits for news, so that only its beginning is bounded here: the watcher
//! itself begins one anew that was silent for too long.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use hyper::body::{Body, Frame, SizeHint};
use millstream_clock::task;
use tower_layer::Layer;
use tower_service::Service;

/// Longest that a call takes, its whole answer included.
pub const CALL_MAX: Duration = Duration::from_secs(30);
/// Longest that a watch takes to begin. What is on the way may hold the head of the answer back
/// until there is news, and the API server ends every watch before that.
const WATCH_BEGIN_MAX: Duration = Duration::from_secs(300);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The call has taken its time and is given up. Whether it was done nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API server has not answered within {} seconds", .0.as_secs())]
pub struct Overdue(Duration);

/// Puts a [`Limited`] around a transport: calls may take that long.
#[derive(Clone, Copy, Debug)]
pub struct LimitCalls(pub Duration);

impl<S> Layer<S> for LimitCalls {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited {
            inner,
            limit: self.0,
        }
    }
}

/// A transport whose calls end in time.
#[derive(Clone, Debug)]
pub struct Limited<S> {
    inner: S,
    limit: Duration,
}

impl<S, A, B> Service<Request<A>> for Limited<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<LimitedBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let is_watch = is_watch(request.uri());
        let limit = if is_watch {
            WATCH_BEGIN_MAX
        } else {
            self.limit
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut end: End = Box::pin(task::sleep(limit));
            let answer = tokio::select! {
                biased;
                answer = answer => answer.map_err(Into::into)?,
                () = &mut end => return Err(Overdue(limit).into()),
            };
            Ok(answer.map(|body| LimitedBody {
                inner: Box::pin(body),
                end: (!is_watch).then_some(end),
                limit,
            }))
        })
    }
}

fn is_watch(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query.split('&').any(|pair| pair == "watch=true")
}

/// The body of an answer, which ends in time, too.
pub struct LimitedBody<B> {
    inner: Pin<Box<B>>,
    /// None of a watch, and none once it is over.
    end: Option<End>,
    limit: Duration,
}

impl<B> Body for LimitedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = this.inner.as_mut().poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let is_over = this
            .end
            .as_mut()
            .is_some_and(|end| end.as_mut().poll(context).is_ready());
        if is_over {
            this.end = None;
            return Poll::Ready(Some(Err(Overdue(this.limit).into())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    /// Answers with a head, or not even with that; no body ever ends.
    #[derive(Clone)]
    struct Hangs {
        has_head: bool,
    }

    type Silent = StreamBody<stream::Pending<Result<Frame<Bytes>, Infallible>>>;

    impl Service<Request<()>> for Hangs {
        type Response = Response<Silent>;
        type Error = Infallible;
        type Future = futures::future::BoxFuture<'static, Result<Response<Silent>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            let has_head = self.has_head;
            Box::pin(async move {
                if !has_head {
                    std::future::pending::<()>().await;
                }
                Ok(Response::new(StreamBody::new(stream::pending())))
            })
        }
    }

    async fn call(has_head: bool, uri: &str) -> Result<Response<LimitedBody<Silent>>, BoxError> {
        let request = Request::get(uri).body(()).expect("a request");
        LimitCalls(CALL_MAX)
            .layer(Hangs { has_head })
            .call(request)
            .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_never_answered_ends() {
        for uri in ["/api/v1/pods", "/api/v1/pods?limit=1", "/x?watch=true"] {
            let error = call(false, uri).await.err().expect("given up");
            assert!(error.is::<Overdue>(), "{uri}: {error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_ends_is_given_up_and_a_watch_is_not() {
        let mut body = call(true, "/api/v1/pods").await.expect("a head");
        let frame = body.body_mut().frame().await.expect("an error");
        assert!(frame.expect_err("given up").is::<Overdue>());

        let mut body = call(true, "/x?limit=1&watch=true").await.expect("a head");
        let waited = task::timeout(CALL_MAX * 100, body.body_mut().frame()).await;
        assert!(waited.is_err(), "it waits for news");
    }
}
