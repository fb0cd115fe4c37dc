"""What every object of the chart must keep to, as functions from the objects to a list of faults.

Pure, so that each rule is tried on planted faults too (`planted.py`).
"""

# Kinds with pods, and where the template of the pods is.
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
RELEASE_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component")
# Volumes that the level `restricted` of Pod Security lets a pod have.
VOLUMES = (
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
    "secret",
)
# All that may lie outside of a namespace.
CLUSTER_WIDE = {
    ("authentication.k8s.io", "tokenreviews"): {"create"},
    ("authorization.k8s.io", "subjectaccessreviews"): {"create"},
    ("", "namespaces"): {"get", "list", "watch"},
}
# Rights that lead to any other.
ESCALATING = {"escalate", "bind", "impersonate"}
# The taints of a node that was lost, and the longest that a pod without records may stay there.
LOST = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
SOON = 60
# What a Secret's file may be in a pod: read by the user and the group that the container runs as.
SECRET_MODE = 0o440
# The Secret that the operator keeps in each namespace with servers, and where its token is in a pod.
METRICS_SECRET = "millstream-metrics"
METRICS_TOKEN = "/var/run/secrets/millstream-metrics/token"
FORBIDDEN = {"pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token", "nodes/proxy"}


def all_faults(objects):
    """Every fault by every rule."""
    rules = (
        pod_security, rights, gateway_rights, selectors, ports, volumes, endings, labels, probes,
        secret_modes, metrics_tokens, lost_nodes, empty_dirs,
    )
    return [fault for rule in rules for fault in rule(objects)]


def of_kind(objects, *kinds):
    """The objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def name_of(each):
    """Kind and name."""
    return f"{each['kind']}/{each['metadata']['name']}"


def templates(objects):
    """(name, metadata, spec) of every pod template."""
    for each in of_kind(objects, *WORKLOADS):
        template = each["spec"]["template"]
        yield name_of(each), template["metadata"], template["spec"]


def pod_security(objects):
    """The level `restricted` of the Pod Security Standards, and a read-only root beyond it."""
    faults = []
    for name, _, spec in templates(objects):
        pod = spec.get("securityContext", {})
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(field):
                faults.append(f"{name}: {field}")
        if not pod.get("runAsNonRoot") or not pod.get("runAsUser"):
            faults.append(f"{name}: runAsNonRoot and runAsUser must be set")
        if pod.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            faults.append(f"{name}: no seccomp profile")
        for volume in spec.get("volumes", []):
            if not set(volume) - {"name"} <= set(VOLUMES):
                faults.append(f"{name}: volume {volume['name']} is of a kind that is not allowed")
        for container in spec["containers"] + spec.get("initContainers", []):
            faults += [f"{name}/{container['name']}: {fault}" for fault in _container(container)]
    return faults


def _container(container):
    own = container.get("securityContext", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation must be false"
    if own.get("capabilities", {}) != {"drop": ["ALL"]}:
        yield "capabilities must be dropped, and none added"
    if not own.get("readOnlyRootFilesystem"):
        yield "readOnlyRootFilesystem must be true"
    if own.get("runAsUser") == 0 or own.get("runAsNonRoot") is False:
        yield "runs as root"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"
    if not container.get("resources", {}).get("requests"):
        yield "no resource requests"


def rights(objects):
    """No wildcard, nothing that leads to other rights, and little outside of a namespace."""
    faults = []
    watches_all = any(each["metadata"]["name"].endswith(":watched") for each in objects)
    for role in of_kind(objects, "Role", "ClusterRole"):
        name = name_of(role)
        for rule in role["rules"]:
            verbs, resources = set(rule["verbs"]), set(rule.get("resources", []))
            if "*" in verbs | resources | set(rule["apiGroups"]):
                faults.append(f"{name}: a wildcard in {rule}")
            if verbs & ESCALATING or resources & FORBIDDEN:
                faults.append(f"{name}: {rule} leads to other rights")
            if "rbac.authorization.k8s.io" in rule["apiGroups"]:
                faults.append(f"{name}: {rule} changes rights")
            writes = verbs & {"update", "patch", "delete", "deletecollection"}
            if "secrets" in resources and writes and "resourceNames" not in rule:
                faults.append(f"{name}: {rule} changes any Secret")
            if "configmaps" in resources and "patch" in verbs and "resourceNames" not in rule:
                faults.append(f"{name}: {rule} patches any ConfigMap")
        if role["kind"] == "ClusterRole" and not role["metadata"]["name"].endswith(":watched"):
            faults += _cluster_wide(role)
    if not watches_all and len(of_kind(objects, "ClusterRole")) != 1:
        faults.append("more than one ClusterRole although not every namespace is watched")
    return faults


def _cluster_wide(role):
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                allowed = CLUSTER_WIDE.get((group, resource), set())
                if not set(rule["verbs"]) <= allowed:
                    yield f"{name_of(role)}: {rule} does not belong to the whole cluster"


def gateway_rights(objects):
    """Gateways have no rights and carry no token for the API server."""
    faults = []
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        names = [subject["name"] for subject in binding["subjects"]]
        if names != ["millstream-operator"]:
            faults.append(f"{name_of(binding)}: gives rights to {names}")
    for name, _, spec in templates(objects):
        if spec["serviceAccountName"] == "millstream-operator":
            continue
        if spec.get("automountServiceAccountToken") is not False:
            faults.append(f"{name}: carries a token for the API server")
    return faults


def selectors(objects):
    """What selects pods selects those of one component, by labels that never change."""
    pods = [(name, metadata["labels"]) for name, metadata, _ in templates(objects)]
    faults = []
    for each in objects:
        wanted = _selector(each)
        if wanted is None:
            continue
        if set(wanted) != set(RELEASE_LABELS):
            faults.append(f"{name_of(each)}: selects by {sorted(wanted)}")
        found = [name for name, labels in pods if wanted.items() <= labels.items()]
        component = wanted.get("app.kubernetes.io/component")
        if component != "shard" and len(found) != 1:
            faults.append(f"{name_of(each)}: selects {found}")
    return faults


def _selector(each):
    spec = each.get("spec", {})
    if each["kind"] == "Service":
        return spec["selector"]
    if each["kind"] in (*WORKLOADS, "PodDisruptionBudget", "PodMonitor", "ServiceMonitor"):
        return spec["selector"]["matchLabels"]
    if each["kind"] == "NetworkPolicy":
        return spec["podSelector"]["matchLabels"]
    return None


def ports(objects):
    """A port that is named somewhere is a port of the pods meant."""
    faults = []
    for each in of_kind(objects, "Service", "NetworkPolicy", "PodMonitor"):
        known = _port_names(objects, _selector(each))
        if each["kind"] == "Service":
            used = [port["targetPort"] for port in each["spec"]["ports"]]
        elif each["kind"] == "PodMonitor":
            used = [endpoint["port"] for endpoint in each["spec"]["podMetricsEndpoints"]]
            # Shard pods are the operator's: their ports are tested there.
            known |= {"admin"} if each["metadata"]["name"].endswith("-shard") else set()
        else:
            rules = each["spec"]["ingress"]
            used = [port["port"] for rule in rules for port in rule["ports"]]
        faults += [f"{name_of(each)}: no port {port}" for port in used if port not in known]
    for name, _, spec in templates(objects):
        for container in spec["containers"]:
            known = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                used = container.get(probe, {}).get("httpGet", {}).get("port")
                if used is not None and used not in known:
                    faults.append(f"{name}: {probe} asks {used}")
    return faults


def _port_names(objects, selector):
    return {
        port["name"]
        for _, metadata, spec in templates(objects)
        if selector.items() <= metadata["labels"].items()
        for container in spec["containers"]
        for port in container["ports"]
    }


def volumes(objects):
    """Every mount has its volume, every volume its mount, and the sources are there."""
    maps = {each["metadata"]["name"] for each in of_kind(objects, "ConfigMap")}
    made_later = {"millstream-ca-bundle"}
    faults = []
    for name, _, spec in templates(objects):
        mounted = {mount["name"] for c in spec["containers"] for mount in c.get("volumeMounts", [])}
        there = {volume["name"] for volume in spec.get("volumes", [])}
        if mounted != there:
            faults.append(f"{name}: mounts {sorted(mounted)}, has {sorted(there)}")
        for volume in spec.get("volumes", []):
            source = volume.get("configMap", {}).get("name")
            if source and source not in maps | made_later:
                faults.append(f"{name}: no ConfigMap {source}")
    return faults


def empty_dirs(objects):
    """A folder of a pod has a bound; that of a gateway, which holds access keys, is on no disk."""
    faults = []
    for name, metadata, spec in templates(objects):
        for volume in spec.get("volumes", []):
            if "emptyDir" not in volume:
                continue
            if "sizeLimit" not in volume["emptyDir"]:
                faults.append(f"{name}: volume {volume['name']} has no bound")
            is_gateway = metadata["labels"]["app.kubernetes.io/component"] == "gateway"
            if is_gateway and volume["emptyDir"].get("medium") != "Memory":
                faults.append(f"{name}: volume {volume['name']} would write access keys to a disk")
    return faults


def lost_nodes(objects):
    """Pods leave a lost node soon; gateways are spread over the nodes that take pods, at each rollout anew."""
    faults = []
    for name, metadata, spec in templates(objects):
        if metadata["labels"]["app.kubernetes.io/component"] == "shard":
            # They cannot leave their volumes.
            continue
        soon = {
            each["key"] for each in spec.get("tolerations", [])
            if each.get("effect") == "NoExecute" and each.get("tolerationSeconds", SOON + 1) <= SOON
        }
        if not LOST <= soon:
            faults.append(f"{name}: stays on a lost node: {sorted(LOST - soon)}")
        if metadata["labels"]["app.kubernetes.io/component"] != "gateway":
            continue
        spread = {each["topologyKey"]: each for each in spec.get("topologySpreadConstraints", [])}
        if set(spread) != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
            faults.append(f"{name}: spread over {sorted(spread)}")
        for key, each in spread.items():
            if each.get("nodeTaintsPolicy") != "Honor":
                faults.append(f"{name}: {key}: a node that takes no pods counts")
            if each.get("matchLabelKeys") != ["pod-template-hash"]:
                faults.append(f"{name}: {key}: pods of the former rollout count")
    return faults


def secret_modes(objects):
    """Nobody but the container's own user and group can read what is secret."""
    faults = []
    for name, _, spec in templates(objects):
        for volume in spec.get("volumes", []):
            mode = volume["secret"].get("defaultMode") if "secret" in volume else SECRET_MODE
            if mode is None or mode & ~SECRET_MODE:
                faults.append(f"{name}: volume {volume['name']} has mode {mode and oct(mode)}")
    return faults


def metrics_tokens(objects):
    """Servers ask for the token that scrapers are told to send."""
    faults = []
    for name, _, spec in templates(objects):
        for container in spec["containers"]:
            values = {each["name"]: each.get("value") for each in container.get("env", [])}
            if "MILLSTREAM_ADMIN_LISTEN" not in values:
                continue
            if values.get("MILLSTREAM_METRICS_TOKEN_FILE") != METRICS_TOKEN:
                faults.append(f"{name}: its metrics ask for no token")
            secrets = {
                mount["mountPath"]: volume["secret"]["secretName"]
                for mount in container["volumeMounts"]
                for volume in spec["volumes"]
                if mount["name"] == volume["name"] and "secret" in volume
            }
            folder = METRICS_TOKEN.rpartition("/")[0]
            if secrets.get(folder) != METRICS_SECRET:
                faults.append(f"{name}: {folder} holds {secrets.get(folder)}")
    wanted = {"name": METRICS_SECRET, "key": METRICS_TOKEN.rpartition("/")[2]}
    for monitor in of_kind(objects, "PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if endpoint.get("authorization", {}).get("credentials") != wanted:
                faults.append(f"{name_of(monitor)}: sends another token than the pods ask for")
    return faults


def endings(objects):
    """A pod is given longer than its wait and its drain together."""
    faults = []
    for name, _, spec in templates(objects):
        for container in spec["containers"]:
            hook = container.get("lifecycle", {}).get("preStop", {})
            wait = hook.get("sleep", {}).get("seconds", 0)
            values = {each["name"]: each.get("value") for each in container.get("env", [])}
            needed = wait + int(values.get("MILLSTREAM_DRAIN_SECONDS") or 0)
            if spec["terminationGracePeriodSeconds"] <= needed:
                faults.append(f"{name}: ends before its drain of {needed} s")
    return faults


def variables(objects, known):
    """Every variable with our prefix is one that the server knows."""
    faults = []
    for name, _, spec in templates(objects):
        for container in spec["containers"]:
            ours = [each["name"] for each in container.get("env", [])]
            ours = [each for each in ours if each.startswith("MILLSTREAM_")]
            faults += [f"{name}: no setting {each}" for each in ours if f"`{each}`" not in known]
    return faults


def labels(objects):
    """Everything carries the labels by which a release is found."""
    faults = []
    for each in objects:
        found = each["metadata"].get("labels", {})
        for label in (*RELEASE_LABELS, "app.kubernetes.io/managed-by", "helm.sh/chart"):
            if label not in found:
                faults.append(f"{name_of(each)}: no label {label}")
    return faults


def probes(objects):
    """Every container says when it has started, lives, and is ready."""
    faults = []
    for name, _, spec in templates(objects):
        for container in spec["containers"]:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe not in container:
                    faults.append(f"{name}: no {probe}")
    return faults
