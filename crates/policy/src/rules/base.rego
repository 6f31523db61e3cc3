# What the agent of this pod does for its host. A request that no rule below allows is refused.
#
# `policy_data`, at the end of this document, holds the values of this one pod. In it and here, `$(cid)` stands for the
# id of the container, `$(sandbox)` for that of the sandbox, and `$(rand)` for 16 hex digits that the host draws.
# `data.pstate` is the agent's memory: what a rule puts there with `ops` is there for the next request.
package agent_policy

import rego.v1

default AllowRequestsFailingPolicy := false

# Always allowed: they end something, wait or count.
default DestroySandboxRequest := true
default GetOOMEventRequest := true
default GuestDetailsRequest := true
default OnlineCPUMemRequest := true
default RemoveStaleVirtiofsShareMountsRequest := true
default StatsContainerRequest := true
default WaitProcessRequest := true

# ---- Sandbox ---------------------------------------------------------------------------------------------------------

# One sandbox in the life of a guest.
CreateSandboxRequest := keeping({"sandbox": input.sandbox_id, "hostname": input.hostname}) if {
	not data.pstate.sandbox
	is_id(input.sandbox_id)
	regex.match(policy_data.hostname, input.hostname)
	is_exactly(input, {"sandbox_pidns": policy_data.pidns}, {"sandbox_id", "hostname", "dns", "storages"})
	allow_storages({shm_storage}, input.storages)
}

shm_storage := [
	"ephemeral", "shm", "tmpfs", ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"],
	"/run/kata-containers/sandbox/shm",
]

UpdateEphemeralMountsRequest if is_exactly(input, {"storages": []}, set())

# ---- Words of these rules --------------------------------------------------------------------------------------------

# Allows a request, and keeps these values for the requests after it.
keeping(values) := {"allowed": true, "ops": ops} if {
	ops := [{"op": "add", "path": path(key), "value": value} | some key, value in values]
}

path(key) := concat("", ["/pstate/", key])

id_key := concat(":", ["id", cid])

used_key := concat(":", ["used", cid])

started_key := concat(":", ["started", cid])

live_key(name) := concat(":", ["live", name])

is_id(id) if regex.match(`^[0-9a-f]{64}$`, id)

is_count(number) if {
	number >= 0
	number == floor(number)
}

# The members of a list, none of which is there twice.
set_of(list) := set if {
	is_array(list)
	set := {item | some item in list}
	count(set) == count(list)
}

# What is given has these values, and besides only fields that are checked elsewhere. A field that these rules do not
# know must be empty.
is_exactly(given, values, elsewhere) if {
	every field, value in values {
		given[field] == value
	}
	every value in object.remove(given, object.keys(values) | elsewhere) {
		is_empty(value)
	}
}

is_empty(value) if value in [null, false, 0, "", [], {}]
