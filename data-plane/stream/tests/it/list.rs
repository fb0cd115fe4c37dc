//! ListStreams and ListShards, page by page.

use millstream_storage::ShardStore;
use millstream_stream::{Kind, ShardFilter, ShardsFrom, StreamsFrom};
use millstream_types::{Millis, ShardId};

use crate::bed::{Bed, START, name, other_scope, over_stores, scope};

/// No test needs more pages; a page that repeats itself ends here.
const PAGES_MAX: usize = 9;

over_stores! {
    streams_are_listed_by_name_page_by_page
    shards_are_listed_by_id_page_by_page
    filters_choose_shards
    describe_pages_after_a_shard
    page_tokens_are_bound_to_their_operation_scope_and_five_minutes
}

async fn streams_are_listed_by_name_page_by_page<S: ShardStore>(bed: &Bed<S>) {
    for text in ["d", "a", "c", "b", "e"] {
        bed.create(text, 1).await;
    }
    let mut pages = Vec::new();
    let mut token: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let from = token
            .as_deref()
            .map_or(StreamsFrom::Start, StreamsFrom::Token);
        let page = bed.streams.list(&scope(), from, 2).expect("a page");
        let names: Vec<&str> = page.streams.iter().map(|s| s.name().as_str()).collect();
        pages.push(names.concat());
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(pages, ["ab", "cd", "e"]);

    let after = name("bb");
    let page = bed
        .streams
        .list(&scope(), StreamsFrom::After(&after), 3)
        .expect("a page");
    let names: Vec<&str> = page.streams.iter().map(|s| s.name().as_str()).collect();
    assert_eq!((names.concat().as_str(), page.next_token), ("cde", None));
    let other = other_scope("000000000001", "us-east-1");
    let page = bed
        .streams
        .list(&other, StreamsFrom::Start, 10)
        .expect("a page");
    assert!(page.streams.is_empty());
}

async fn shards_are_listed_by_id_page_by_page<S: ShardStore>(bed: &Bed<S>) {
    let stream = bed.create("flights", 5).await;
    let flights = name("flights");
    let mut listed = Vec::new();
    let mut sizes = Vec::new();
    let mut token: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let from = token.as_deref().map_or(
            ShardsFrom::Stream {
                name: &flights,
                filter: ShardFilter::AtLatest,
                after: None,
            },
            ShardsFrom::Token,
        );
        let page = bed.streams.list_shards(&scope(), from, 2).expect("a page");
        assert_eq!(page.stream.uid(), stream.uid());
        sizes.push(page.shards.len());
        listed.extend(page.shards);
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(listed, stream.shards_after(None, 10).0);
    let none = name("none");
    let from = ShardsFrom::Stream {
        name: &none,
        filter: ShardFilter::All,
        after: None,
    };
    let error = bed
        .streams
        .list_shards(&scope(), from, 2)
        .expect_err("no stream");
    assert_eq!(error.kind(), Kind::NotFound);
}

async fn filters_choose_shards<S: ShardStore>(bed: &Bed<S>) {
    bed.create("flights", 3).await;
    bed.clock.advance(1_000);
    let flights = name("flights");
    let ids = |filter, after| {
        let from = ShardsFrom::Stream {
            name: &flights,
            filter,
            after,
        };
        let page = bed
            .streams
            .list_shards(&scope(), from, 100)
            .expect("a page");
        page.shards.iter().map(|s| s.id.0).collect::<Vec<_>>()
    };
    for filter in [
        ShardFilter::All,
        ShardFilter::AtTrimHorizon,
        ShardFilter::FromTrimHorizon,
        ShardFilter::AtLatest,
        ShardFilter::AtTimestamp(START.plus(500)),
        ShardFilter::AtTimestamp(Millis(0)),
        ShardFilter::FromTimestamp(START),
    ] {
        assert_eq!(ids(filter, None), [0, 1, 2], "{filter:?}");
        assert_eq!(ids(filter, Some(ShardId(1))), [2], "{filter:?}");
    }
    assert_eq!(ids(ShardFilter::AfterShardId(ShardId(0)), None), [1, 2]);
    assert_eq!(ids(ShardFilter::AfterShardId(ShardId(2)), None), [0u32; 0]);
}

async fn describe_pages_after_a_shard<S: ShardStore>(bed: &Bed<S>) {
    let stream = bed.create("flights", 3).await;
    let ids = |after, limit| {
        let (shards, more) = stream.shards_after(after, limit);
        (shards.iter().map(|s| s.id.0).collect::<Vec<_>>(), more)
    };
    assert_eq!(ids(None, 2), (vec![0, 1], true));
    assert_eq!(ids(Some(ShardId(1)), 2), (vec![2], false));
    assert_eq!(ids(Some(ShardId(9)), 2), (vec![], false));
    assert_eq!(ids(None, 3), (vec![0, 1, 2], false));
}

async fn page_tokens_are_bound_to_their_operation_scope_and_five_minutes<S: ShardStore>(
    bed: &Bed<S>,
) {
    bed.create("flights", 2).await;
    bed.create("trains", 1).await;
    let streams = bed
        .streams
        .list(&scope(), StreamsFrom::Start, 1)
        .expect("a page");
    let streams = streams.next_token.expect("one more stream");
    let flights = name("flights");
    let from = ShardsFrom::Stream {
        name: &flights,
        filter: ShardFilter::All,
        after: None,
    };
    let shards = bed.streams.list_shards(&scope(), from, 1).expect("a page");
    let shards = shards.next_token.expect("one more shard");

    let kind = |token: &str| {
        bed.streams
            .list(&scope(), StreamsFrom::Token(token), 1)
            .map_err(|e| e.kind())
    };
    assert_eq!(kind(&shards).err(), Some(Kind::Invalid));
    assert_eq!(kind("AAAA").err(), Some(Kind::Invalid));
    let other = other_scope("000000000000", "eu-west-1");
    let elsewhere = bed
        .streams
        .list_shards(&other, ShardsFrom::Token(&shards), 1);
    assert_eq!(elsewhere.expect_err("another region").kind(), Kind::Invalid);

    bed.clock.advance(300_001);
    assert_eq!(kind(&streams).err(), Some(Kind::Expired));
    let late = bed
        .streams
        .list_shards(&scope(), ShardsFrom::Token(&shards), 1);
    assert_eq!(late.expect_err("too old").kind(), Kind::Expired);
}
