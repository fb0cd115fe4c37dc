//! The objects, their versions, and who watches them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use http::Uri;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::fields::{self, Owners};

/// Most events that a watch may lag behind.
const WATCH_LAG_MAX: usize = 10_000;

/// What a request is about.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `apps/v1/statefulsets`, without the namespace.
    pub(crate) resource: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    subresource: Option<String>,
    query: BTreeMap<String, String>,
}

impl Target {
    pub(crate) fn parse(uri: &Uri) -> Option<Self> {
        let mut parts = uri.path().trim_start_matches('/').split('/');
        let group = match parts.next()? {
            "api" => parts.next()?.to_owned(),
            "apis" => format!("{}/{}", parts.next()?, parts.next()?),
            _ => return None,
        };
        let rest: Vec<&str> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
                (Some((*namespace).to_owned()), rest)
            },
            rest => (None, rest),
        };
        let query = uri.query().unwrap_or_default().split('&');
        let pair = |text: &str| {
            let (key, value) = text.split_once('=')?;
            Some((key.to_owned(), decode(value)))
        };
        let owned = |part: Option<&&str>| part.map(|text| (*text).to_owned());
        Some(Self {
            resource: format!("{group}/{}", rest.first()?),
            namespace,
            name: owned(rest.get(1)),
            subresource: owned(rest.get(2)),
            query: query.filter_map(pair).collect(),
        })
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.query.get("watch").is_some_and(|value| value == "true")
    }

    fn key(&self) -> Option<Key> {
        Some((
            self.resource.clone(),
            self.namespace.clone().unwrap_or_default(),
            self.name.clone()?,
        ))
    }

    fn holds(&self, key: &Key, object: &Value) -> bool {
        let in_namespace = self.namespace.as_ref().is_none_or(|name| *name == key.1);
        let selector = self.query.get("labelSelector").map(String::as_str);
        let labels = &object["metadata"]["labels"];
        let selected = |pair: &str| match pair.split_once('=') {
            Some((label, value)) => labels[label] == value,
            None => labels.get(pair).is_some(),
        };
        key.0 == self.resource
            && in_namespace
            && selector.is_none_or(|text| text.split(',').filter(|p| !p.is_empty()).all(selected))
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = [rest.clone().next(), rest.clone().nth(1)];
        match (byte, hex) {
            (b'%', [Some(high), Some(low)]) => {
                let digits = [high, low];
                let digits = std::str::from_utf8(&digits).expect("hexadecimal");
                bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                rest.nth(1);
            },
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(other),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

type Key = (String, String, String);
type Refusal = (u16, &'static str, String);

/// An answer with a body.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

fn ok(body: Value) -> Result<Answer, Refusal> {
    Ok(Answer { code: 200, body })
}

/// The code of a [`Fault`] that is no answer at all.
pub(crate) const SILENCE: u16 = 0;

/// The next `times` calls of this method on this resource fail with `code`.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) method: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) code: u16,
    pub(crate) times: usize,
}

#[derive(Clone, Debug)]
struct Held {
    object: Value,
    owners: Owners,
}

struct Watcher {
    target: Target,
    events: mpsc::Sender<Value>,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<Key, Held>,
    history: VecDeque<(u64, Key, Value)>,
    watchers: Vec<Watcher>,
    faults: Vec<Fault>,
    forbidden: Vec<String>,
    /// Calls that a namespace still answers before it is forbidden.
    ends_after: BTreeMap<String, usize>,
    holds_events: bool,
    held_kinds: BTreeSet<String>,
    calls: Vec<(String, String)>,
    oldest: u64,
    tokens: BTreeMap<String, Value>,
    scrapers: BTreeSet<String>,
}

/// The API server.
#[derive(Default)]
pub(crate) struct Mock(Mutex<State>);

impl Mock {
    pub(crate) fn fail(&self, fault: Fault) {
        self.0.lock().faults.push(fault);
    }

    /// Answers 403 to every call in the namespace, as once its Role is gone; or no more.
    pub(crate) fn forbid(&self, namespace: &str, is_forbidden: bool) {
        let mut state = self.0.lock();
        state.forbidden.retain(|name| name != namespace);
        if is_forbidden {
            state.forbidden.push(namespace.to_owned());
        }
    }

    /// Answers 403 to every call in the namespace once so many more were answered.
    pub(crate) fn forbid_after(&self, namespace: &str, calls: usize) {
        let mut state = self.0.lock();
        state.ends_after.insert(namespace.to_owned(), calls);
    }

    pub(crate) fn forbids(&self, target: &Target) -> bool {
        let mut state = self.0.lock();
        let Some(namespace) = &target.namespace else {
            return false;
        };
        let is_over = match state.ends_after.get_mut(namespace) {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            },
            None => false,
        };
        is_over || state.forbidden.contains(namespace)
    }

    /// The answer to a TokenReview of this token.
    pub(crate) fn know_token(&self, token: &str, status: Value) {
        self.0.lock().tokens.insert(token.to_owned(), status);
    }

    /// Lets a user get `/metrics`.
    pub(crate) fn let_scrape(&self, user: &str) {
        self.0.lock().scrapers.insert(user.to_owned());
    }

    /// Watches see nothing any more, as when one hangs.
    pub(crate) fn hold_events(&self) {
        self.0.lock().holds_events = true;
    }

    /// Watches of one kind see nothing any more.
    pub(crate) fn hold_events_of(&self, resource: &str) {
        self.0.lock().held_kinds.insert(resource.to_owned());
    }

    /// Watches see everything again, and what has happened meanwhile.
    pub(crate) fn let_events_through(&self) {
        self.0.lock().held_kinds.clear();
        self.drop_watches();
    }

    /// Ends every watch, as a restart of the API server does.
    pub(crate) fn drop_watches(&self) {
        self.0.lock().watchers.clear();
    }

    /// Forgets the past: a watch that asks for it gets 410.
    pub(crate) fn expire_history(&self) {
        let mut state = self.0.lock();
        state.oldest = state.version;
        state.history.clear();
        state.watchers.clear();
    }

    /// Puts an object there, as another client would.
    pub(crate) fn put(&self, resource: &str, object: Value) -> Value {
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = (
            resource.to_owned(),
            text(&metadata["namespace"]),
            text(&metadata["name"]),
        );
        let mut state = self.0.lock();
        let owners = state.objects.get(&key).map(|held| held.owners.clone());
        let old = state
            .objects
            .get(&key)
            .map_or(Value::Null, |held| held.object.clone());
        let mut owners = owners.unwrap_or_default();
        let mut object = object;
        if old.is_null() {
            state.birth(&mut object);
        } else {
            object["metadata"]["uid"] = old["metadata"]["uid"].clone();
            object["metadata"]["creationTimestamp"] = old["metadata"]["creationTimestamp"].clone();
        }
        owners.update(&old, &object, "kubectl");
        state.write(key, object, owners, &old)
    }

    pub(crate) fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.0
            .lock()
            .objects
            .get(&key)
            .map(|held| held.object.clone())
    }

    pub(crate) fn all(&self, resource: &str) -> Vec<Value> {
        let state = self.0.lock();
        let of_kind = state.objects.iter().filter(|(key, _)| key.0 == resource);
        of_kind.map(|(_, held)| held.object.clone()).collect()
    }

    /// Takes an object away without asking its finalizers.
    pub(crate) fn remove(&self, resource: &str, namespace: &str, name: &str) {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.0.lock().erase(&key);
    }

    /// Calls of this method on this resource so far.
    pub(crate) fn calls(&self, method: &str, resource: &str) -> usize {
        let state = self.0.lock();
        let same = |call: &&(String, String)| call.0 == method && call.1 == resource;
        state.calls.iter().filter(same).count()
    }

    pub(crate) fn note_call(&self, method: &str, target: &Target) {
        let call = (method.to_owned(), target.resource.clone());
        self.0.lock().calls.push(call);
    }

    pub(crate) fn take_fault(&self, method: &str, target: &Target) -> Option<u16> {
        let mut state = self.0.lock();
        let fault = state.faults.iter_mut().find(|fault| {
            fault.method == method && fault.resource == target.resource && fault.times > 0
        })?;
        fault.times -= 1;
        Some(fault.code)
    }

    pub(crate) fn get(&self, target: &Target) -> Result<Answer, Refusal> {
        let key = target.key().expect("a name was given");
        match self.0.lock().objects.get(&key) {
            Some(held) => ok(held.object.clone()),
            None => Err(absent(&key)),
        }
    }

    pub(crate) fn list(&self, target: &Target) -> Result<Answer, Refusal> {
        let state = self.0.lock();
        let held = state.objects.iter();
        let items: Vec<Value> = held
            .filter(|(key, held)| target.holds(key, &held.object))
            .map(|(_, held)| held.object.clone())
            .collect();
        ok(json!({
            "kind": "List", "apiVersion": "v1",
            "metadata": {"resourceVersion": state.version.to_string()}, "items": items,
        }))
    }

    /// The events since the asked version. One that is forgotten is answered as the real API server
    /// does it: with an event that says so.
    pub(crate) fn watch(&self, target: &Target) -> mpsc::Receiver<Value> {
        let mut state = self.0.lock();
        let since = target
            .query
            .get("resourceVersion")
            .and_then(|text| text.parse().ok());
        let since: u64 = since.unwrap_or(state.version);
        let (events, receiver) = mpsc::channel(WATCH_LAG_MAX);
        if since < state.oldest {
            let expired = super::status(410, "Expired", "too old resource version");
            drop(events.try_send(json!({"type": "ERROR", "object": expired})));
            return receiver;
        }
        for (version, key, event) in &state.history {
            if *version > since && target.holds(key, &event["object"]) {
                drop(events.try_send(event.clone()));
            }
        }
        let target = target.clone();
        state.watchers.push(Watcher { target, events });
        receiver
    }

    pub(crate) fn create(&self, target: &Target, given: Value) -> Result<Answer, Refusal> {
        let mut state = self.0.lock();
        if target.resource == "authentication.k8s.io/v1/tokenreviews" {
            let token = given["spec"]["token"].as_str().unwrap_or_default();
            let unknown = json!({"authenticated": false});
            let mut review = given.clone();
            review["status"] = state.tokens.get(token).cloned().unwrap_or(unknown);
            return ok(review);
        }
        if target.resource == "authorization.k8s.io/v1/subjectaccessreviews" {
            let spec = &given["spec"];
            let wanted = json!({"path": "/metrics", "verb": "get"});
            let user = spec["user"].as_str().unwrap_or_default();
            let allowed = spec["nonResourceAttributes"] == wanted && state.scrapers.contains(user);
            let mut review = given.clone();
            review["status"] = json!({"allowed": allowed});
            return ok(review);
        }
        let name = given["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let namespace = target.namespace.clone().unwrap_or_default();
        let key = (target.resource.clone(), namespace, name);
        if state.objects.contains_key(&key) {
            return Err((409, "AlreadyExists", format!("{} exists", key.2)));
        }
        let mut object = given;
        state.birth(&mut object);
        let mut owners = Owners::default();
        owners.update(&Value::Null, &object, "creator");
        let body = state.write(key, object, owners, &Value::Null);
        Ok(Answer { code: 201, body })
    }

    pub(crate) fn replace(&self, target: &Target, given: Value) -> Result<Answer, Refusal> {
        let mut state = self.0.lock();
        let key = target.key().expect("a name was given");
        let Some(held) = state.objects.get(&key).cloned() else {
            return Err(absent(&key));
        };
        let version = &given["metadata"]["resourceVersion"];
        if version.is_string() && *version != held.object["metadata"]["resourceVersion"] {
            return Err((409, "Conflict", "the object has been modified".to_owned()));
        }
        let mut object = given;
        object["metadata"]["uid"] = held.object["metadata"]["uid"].clone();
        let mut owners = held.owners;
        owners.update(&held.object, &object, "replacer");
        ok(state.write(key, object, owners, &held.object))
    }

    pub(crate) fn patch(
        &self,
        target: &Target,
        kind: &str,
        given: Value,
    ) -> Result<Answer, Refusal> {
        let mut state = self.0.lock();
        let key = target.key().expect("a name was given");
        let held = state.objects.get(&key).cloned();
        let manager = target
            .query
            .get("fieldManager")
            .cloned()
            .unwrap_or_default();
        let force = target
            .query
            .get("force")
            .is_some_and(|value| value == "true");
        let is_apply = kind.starts_with("application/apply-patch");
        let (old, mut owners) = match held {
            Some(held) => (held.object, held.owners),
            None if is_apply && target.subresource.is_none() => (Value::Null, Owners::default()),
            None => return Err(absent(&key)),
        };
        let mut object = old.clone();
        if is_apply {
            if old.is_null() {
                object = json!({
                    "apiVersion": given["apiVersion"], "kind": given["kind"],
                    "metadata": {"name": key.2},
                });
                if !key.1.is_empty() {
                    object["metadata"]["namespace"] = json!(key.1);
                }
                state.birth(&mut object);
            }
            let conflict = |text| (409, "Conflict", text);
            owners
                .apply(&mut object, &given, &manager, force)
                .map_err(conflict)?;
        } else if kind.starts_with("application/json-patch") {
            json_patch(&mut object, &given).map_err(|text| (422, "Invalid", text))?;
            owners.update(&old, &object, &manager);
        } else {
            merge(&mut object, &given);
            owners.update(&old, &object, &manager);
        }
        if target.query.contains_key("dryRun") {
            return ok(object);
        }
        ok(state.write(key, object, owners, &old))
    }

    pub(crate) fn delete(&self, target: &Target, options: &Value) -> Result<Answer, Refusal> {
        let mut state = self.0.lock();
        let key = target.key().expect("a name was given");
        let Some(held) = state.objects.get(&key).cloned() else {
            return Err(absent(&key));
        };
        let uid = &options["preconditions"]["uid"];
        if uid.is_string() && *uid != held.object["metadata"]["uid"] {
            return Err((
                409,
                "Conflict",
                "the UID in the precondition differs".to_owned(),
            ));
        }
        let version = &options["preconditions"]["resourceVersion"];
        if version.is_string() && *version != held.object["metadata"]["resourceVersion"] {
            return Err((409, "Conflict", "the object has been modified".to_owned()));
        }
        let has_finalizers = held.object["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        if has_finalizers {
            let mut object = held.object.clone();
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            return ok(state.write(key, object, held.owners, &held.object));
        }
        state.erase(&key);
        ok(held.object)
    }
}

impl State {
    fn birth(&mut self, object: &mut Value) {
        let number = self.version + 1;
        let metadata = &mut object["metadata"];
        if !metadata["uid"].is_string() {
            metadata["uid"] = json!(format!("00000000-0000-4000-8000-{number:012x}"));
        }
        if !metadata["creationTimestamp"].is_string() {
            let seconds = number % 60;
            let minutes = number / 60 % 60;
            let time = format!("2026-01-01T00:{minutes:02}:{seconds:02}Z");
            metadata["creationTimestamp"] = json!(time);
        }
    }

    /// Keeps the object with its next version, and tells those who watch. What does not change
    /// anything has no new version.
    fn write(&mut self, key: Key, mut object: Value, owners: Owners, old: &Value) -> Value {
        let generation = old["metadata"]["generation"].as_u64().unwrap_or(0);
        let is_born = old.is_null();
        let changed = u64::from(is_born || object["spec"] != old["spec"]);
        object["metadata"]["generation"] = json!(generation + changed);
        object["metadata"]["managedFields"] = owners.to_json();
        object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if object == *old {
            return object;
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let ends = object["metadata"]["deletionTimestamp"].is_string()
            && object["metadata"]["finalizers"]
                .as_array()
                .is_none_or(Vec::is_empty);
        if ends {
            self.objects.remove(&key);
            self.tell(&key, "DELETED", &object);
            return object;
        }
        let held = Held {
            object: object.clone(),
            owners,
        };
        self.objects.insert(key.clone(), held);
        self.tell(&key, if is_born { "ADDED" } else { "MODIFIED" }, &object);
        object
    }

    fn erase(&mut self, key: &Key) {
        if let Some(held) = self.objects.remove(key) {
            self.version += 1;
            let mut object = held.object;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.tell(key, "DELETED", &object);
        }
    }

    fn tell(&mut self, key: &Key, kind: &str, object: &Value) {
        let event = json!({"type": kind, "object": object});
        self.history
            .push_back((self.version, key.clone(), event.clone()));
        if self.holds_events || self.held_kinds.contains(&key.0) {
            return;
        }
        self.watchers.retain(|watcher| {
            !watcher.target.holds(key, object) || watcher.events.try_send(event.clone()).is_ok()
        });
    }
}

fn absent(key: &Key) -> Refusal {
    (
        404,
        "NotFound",
        format!("{} {}/{} not found", key.0, key.1, key.2),
    )
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            object.as_object_mut().expect("an object").remove(name);
        } else {
            merge(&mut object[name.as_str()], value);
        }
    }
}

/// `test`, `add` and `remove` of RFC 6902: what the finalizer helper sends.
fn json_patch(object: &mut Value, patch: &Value) -> Result<(), String> {
    for step in patch.as_array().into_iter().flatten() {
        let pointer = step["path"].as_str().unwrap_or_default();
        let path: Vec<String> = pointer.split('/').skip(1).map(str::to_owned).collect();
        let found = object.pointer(pointer).cloned().unwrap_or(Value::Null);
        match step["op"].as_str() {
            Some("test") if found == step["value"] => {},
            Some("test") => return Err(format!("testing {pointer} failed")),
            Some("add") if pointer.ends_with("/-") => {
                let list = object.pointer_mut(pointer.trim_end_matches("/-"));
                let list = list.and_then(Value::as_array_mut).ok_or("no list")?;
                list.push(step["value"].clone());
            },
            Some("add") => fields::set(object, &path, step["value"].clone()),
            Some("remove") => {
                let (last, parent) = path.split_last().ok_or("no path")?;
                let parent = format!("/{}", parent.join("/"));
                match object.pointer_mut(&parent) {
                    Some(Value::Array(list)) => {
                        list.remove(last.parse::<usize>().map_err(|error| error.to_string())?);
                    },
                    _ => fields::remove(object, &path),
                }
            },
            other => return Err(format!("operation {other:?}")),
        }
    }
    Ok(())
}
