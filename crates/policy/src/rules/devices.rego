# ---- GPUs ------------------------------------------------------------------------------------------------------------

# A container gets as many GPUs as it asked for. An annotation names each: the guest's number of a device of the host,
# which is the host's to choose, and the index of a GPU among those of the pod.
allow_devices(container) if {
	gpus := {number: gpu |
		some key, gpu in annotations
		startswith(key, "cdi.k8s.io/vfio")
		number := trim_prefix(key, "cdi.k8s.io/vfio")
	}
	count(gpus) == container.gpus
	count({gpu | some gpu in gpus}) == container.gpus
	# None is another container's, as long as that one lives.
	every key, kept in data.pstate {
		not is_taken(key, kept)
	}
	allow_gpus(object.keys(gpus), object.get(input, "devices", []))
}

is_taken(key, kept) if {
	startswith(key, "live:")
	some gpu in gpus_of_request
	gpu in kept
}

allow_annotation(container, key, value) if {
	container.gpus
	regex.match(`^cdi\.k8s\.io/vfio[0-9]{1,5}$`, key)
	some index in numbers.range(0, sum([other.gpus | some other in policy_data.containers]) - 1)
	value == concat("=", ["nvidia.com/gpu", format_int(index, 10)])
}

# They are in the guest before it starts, or come with the request, each once and as what the guest's driver takes.
allow_gpus(_, []) := true

allow_gpus(numbers, devices) if {
	count(devices) == count(numbers)
	{number_of(gpu) | some gpu in devices} == numbers
}

number_of(gpu) := number if {
	number := trim_prefix(gpu.id, "vfio")
	is_exactly(
		gpu,
		{
			"id": concat("", ["vfio", number]), "type_": "vfio-pci-gk",
			"container_path": concat("", ["/dev/vfio/devices/vfio", number]),
		},
		{"options"},
	)
	count(gpu.options) == 1
	regex.match(`^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]=[0-9a-f]{2}(/[0-9a-f]{2}){0,7}$`, gpu.options[0])
}
