# ---- Network ---------------------------------------------------------------------------------------------------------

# What the host may say of the guest's network. TLS does not trust the network; these keep it from being anything else
# than a network: no loopback address leaves the guest, and no device is one that the rules do not know. Of each thing
# first the fields that it must have, then those that it may have, with a pattern, a list, or least and most.
network := {
	"interface": [
		{"name": device, "device": device, "hwAddr": station, "mtu": frame},
		{"raw_flags": [0, 128], "devicePath": bus_path, "pciPath": bus_path, "type": link, "type_": link},
	],
	"address": [{"address": address, "family": [0, 1], "mask": `^[0-9]{1,3}$`}, {}],
	# The scopes are RT_SCOPE_UNIVERSE and RT_SCOPE_LINK, the flag is RTNH_F_ONLINK.
	"route": [
		{"device": device, "dest": destination, "scope": [0, 253], "family": [0, 1]},
		{"gateway": address, "source": address, "flags": [0, 4], "mtu": frame},
	],
	# NUD_REACHABLE and NUD_PERMANENT; NTF_PROXY and NTF_ROUTER.
	"neighbor": [{"device": device, "lladdr": station, "state": [2, 128]}, {"flags": [0, 8, 128, 136]}],
	"neighbor_address": [{"address": address, "family": [0, 1]}, {}],
	"loopback": `^127\.|^[0:]*:(0*1|[0-9a-f:]*ffff:.*)(/[0-9]+)?$`,
}

device := `^(eth|net)[0-9]{1,3}$`

# The hardware address of one station.
station := `^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$`

# From what every host of IPv4 must take to the longest frame.
frame := {"least": 576, "most": 65535}

bus_path := `^[0-9a-f./]{0,64}$`

link := `^[a-z0-9_-]{0,15}$`

address := concat("", ["^", ip, "$"])

# The whole network, or one with its prefix.
destination := concat("", ["^(", ip, "(/[0-9]{1,3})?)?$"])

fits([needed, optional], given) if {
	every field, wanted in needed {
		fits_one(wanted, given[field])
	}
	every field, value in object.remove(given, object.keys(needed)) {
		fits_or_empty(optional, field, value)
	}
}

fits_or_empty(_, _, value) if is_empty(value)

fits_or_empty(optional, field, value) if fits_one(optional[field], value)

fits_one(wanted, value) if {
	is_string(wanted)
	regex.match(wanted, value)
	value != "00:00:00:00:00:00"
}

fits_one(wanted, value) if {
	is_array(wanted)
	value in wanted
}

fits_one(wanted, value) if {
	is_count(value)
	value >= wanted.least
	value <= wanted.most
}

# No address is a loopback address, and all are of the family that is named: 1 is IPv6, whose addresses have colons.
leads_out(given) if {
	every address in {given[field] | some field in ["address", "dest", "gateway", "source"]} - {""} {
		not regex.match(network.loopback, address)
		contains(address, ":") == (given.family == 1)
	}
}

UpdateInterfaceRequest if {
	is_exactly(input, {}, {"interface"})
	fits(network.interface, object.remove(input.interface, {"IPAddresses"}))
	every address in input.interface.IPAddresses {
		fits(network.address, address)
		leads_out(address)
	}
}

UpdateRoutesRequest if {
	is_exactly(input, {}, {"routes"})
	is_exactly(input.routes, {}, {"Routes"})
	every route in input.routes.Routes {
		fits(network.route, route)
		leads_out(route)
	}
}

AddARPNeighborsRequest if {
	is_exactly(input, {}, {"neighbors"})
	is_exactly(input.neighbors, {}, {"ARPNeighbors"})
	every neighbor in input.neighbors.ARPNeighbors {
		fits(network.neighbor, object.remove(neighbor, {"toIPAddress"}))
		fits(network.neighbor_address, neighbor.toIPAddress)
		leads_out(neighbor.toIPAddress)
	}
}
