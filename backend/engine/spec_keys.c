/* SPDX-License-Identifier: Apache-2.0
 *
 * THE key table: every key of every spec with its type, default, limits, what
 * a change of it asks for, and one line of help.  Parsing, the nearest-key
 * hint, effective documents, the manual page and the docs come from it.
 */
#include "engine/registry.h"
#include "engine/spec_table.h"

#include <errno.h>

#define HOUR (3600 * USEC_PER_SEC)
#define DAY  (24 * HOUR)

#define SUB(name, list)                                                        \
	static const struct spec_sub name = {                                  \
	    .keys = list, .n = ARRAY_SIZE(list)}
#define ENTRIES(name, list, type, shown, default_key)                          \
	static const struct spec_sub name = {.keys = (list),                   \
	    .n = ARRAY_SIZE(list),                                             \
	    .size = sizeof(struct type),                                       \
	    .each = (shown),                                                   \
	    .named = (default_key)}
#define CHOICES(name, ...)                                                     \
	static const struct spec_word name##_list[] = {__VA_ARGS__};           \
	static const struct spec_words name = {                                \
	    name##_list, ARRAY_SIZE(name##_list)}

#define WORD(name) {#name},
CHOICES(node_drivers, NODE_DRIVERS(WORD));
CHOICES(network_drivers, NETWORK_DRIVERS(WORD));
CHOICES(builds, {"debian"});

static int check_entry(const char *name, struct err *err)
{
	struct err why = ERR_INIT;
	if (spec_check_name("", name, &why) == 0)
		return 0;
	/* The path in front names it already. */
	return err_set(err, -EINVAL, "%s", why.text + strlen(": "));
}

/* clang-format off */

/* --- node ---------------------------------------------------------------- */

static const struct spec_key boot_keys[] = {
	{"image", T_TEXT, .field = FIELD(node_spec, boot_image),
	 .effect = EFFECT_RESTART, .check = check_entry,
	 .min = 1, .max = NAME_MAX_LABEL,
	 .fallback = "\"netboot\"", .example = "\"netboot\"",
	 .limits = "an entry of images/",
	 .help = "What the machine boots."},
	{"cmdline", T_TEXT, .field = FIELD(node_spec, boot_cmdline),
	 .effect = EFFECT_RESTART, .check = check_line,
	 .min = 1, .max = CMDLINE_MAX,
	 .example = "\"console=ttyS0\"",
	 .limits = "one line of ASCII",
	 .help = "Appended to the kernel command line of the image."},
	{"from", T_WORD, .field = FIELD(node_spec, boot_from),
	 .effect = EFFECT_RESTART, .words = &spec_from_words,
	 .fallback = "\"auto\"", .example = "\"auto\"",
	 .help = "auto: the disk once a system is installed on it, else the "
		 "image."},
	{"firmware", T_WORD, .field = FIELD(node_spec, boot_firmware),
	 .effect = EFFECT_RESTART, .words = &spec_firmware_words,
	 .fallback = "\"direct\"", .example = "\"uefi\"",
	 .help = "What starts an installed system. direct: its kernel is "
		 "loaded by the machine (kind disk: its boot sector, by the "
		 "BIOS); uefi: OVMF, from the partition with the flag esp."},
	{"template", T_BOOL, .field = FIELD(node_spec, boot_template),
	 .effect = EFFECT_RESTART,
	 .fallback = "true", .example = "false",
	 .help = "Start from a copy of a booted machine where that works; "
		 "false: always boot."},
};
SUB(boot_sub, boot_keys);

static const struct spec_key nic_keys[] = {
	{"network", T_TEXT, .field = FIELD(nic_spec, network),
	 .effect = EFFECT_LIVE, .check = check_entry,
	 .min = 1, .max = NAME_MAX_LABEL, .example = "\"lan\"",
	 .limits = "an entry of networks/; default: the NIC's name",
	 .help = "The network that it is plugged into."},
	{"mac", T_MAC, .field = FIELD(nic_spec, mac),
	 .has = FIELD(nic_spec, has_mac), .effect = EFFECT_RESTART,
	 .example = "\"52:54:00:12:34:56\"",
	 .limits = "unicast, used once; default: 52:54:00 and the numbers of "
		   "node and NIC",
	 .help = "Hardware address."},
	{"address", T_ADDRESS, .field = FIELD(nic_spec, address),
	 .second = FIELD(nic_spec, address_mode), .effect = EFFECT_LIVE,
	 .example = "\"10.36.0.11\"",
	 .limits = "in the network's subnet, not its first or last, used "
		   "once; default: by the node's number",
	 .help = "IPv4 address; null (in a document written with >): none."},
	{"link", T_WORD, .field = FIELD(nic_spec, link),
	 .effect = EFFECT_LIVE, .words = &spec_link_words,
	 .fallback = "\"up\"", .example = "\"down\"",
	 .help = "down: as if the cable were pulled."},
};
ENTRIES(nic_sub, nic_keys, nic_spec, "<nic>", "network");

static const struct spec_key ssh_keys[] = {
	{"port", T_PORT, .field = FIELD(node_spec, ssh_port),
	 .effect = EFFECT_LIVE, .min = 1024, .max = 65535,
	 .example = "2201",
	 .limits = "used once; default: 2200 and the node's number",
	 .help = "Port on 127.0.0.1 that leads to the node's SSH."},
	{"user", T_TEXT, .field = FIELD(node_spec, ssh_user),
	 .effect = EFFECT_RESTART, .check = check_user,
	 .min = 1, .max = 32,
	 .fallback = "\"root\"", .example = "\"root\"",
	 .help = "Who logs in."},
};
SUB(ssh_sub, ssh_keys);

static const struct spec_key partition_keys[] = {
	{"name", T_TEXT, .field = FIELD(partition_spec, name),
	 .check = check_partition_name, .min = 1, .max = 36,
	 .example = "\"root\"",
	 .limits = "used once on a disk; default: part1, part2, ...",
	 .help = "Name of the partition, kept in a GPT."},
	{"size", T_REST, REQUIRED, .field = FIELD(partition_spec, size),
	 .min = MIB, .max = 64 * (1ULL << 40),
	 .example = "\"511M\"",
	 .limits = "the last one may be \"100%\": the rest of the disk",
	 .help = "Its size; each begins at a whole MiB, the first at 1M."},
	{"filesystem", T_WORD, .field = FIELD(partition_spec, filesystem),
	 .words = &spec_filesystem_words, .example = "\"ext4\"",
	 .help = "What it is formatted with; without it, not at all."},
	{"label", T_TEXT, .field = FIELD(partition_spec, label),
	 .check = check_label, .min = 1, .max = 16,
	 .example = "\"root\"",
	 .limits = "vfat 11, swap 15, ext4 16 characters; used once on a "
		   "disk, for vfat without regard to case",
	 .help = "Label of the file system."},
	{"mount", T_TEXT, .field = FIELD(partition_spec, mount),
	 .check = check_mount, .min = 1, .max = MOUNT_MAX,
	 .example = "\"/boot\"",
	 .limits = "absolute, no . or .., used once on a disk",
	 .help = "Where it is mounted, below /mnt in a netboot guest."},
	{"flags", T_FLAGS, .field = FIELD(partition_spec, flags),
	 .words = &spec_flag_words, .max = 2,
	 .example = "[\"esp\"]",
	 .limits = "esp asks for vfat",
	 .help = "esp: the EFI system partition; boot: bootable."},
};
ENTRIES(partition_sub, partition_keys, partition_spec, "[]", "name");

static const struct spec_key disk_keys[] = {
	{"size", T_SIZE, REQUIRED, .field = FIELD(disk_spec, size),
	 .effect = EFFECT_LIVE, .min = 16 * MIB, .max = 64 * (1ULL << 40),
	 .example = "\"4G\"",
	 .limits = "may grow, never shrinks",
	 .help = "What the guest sees; the host's file is sparse."},
	{"table", T_WORD, .field = FIELD(disk_spec, table),
	 .effect = EFFECT_WIPE, .words = &spec_table_words,
	 .fallback = "\"gpt\"", .example = "\"gpt\"",
	 .help = "Kind of partition table."},
	{"format", T_WORD, .field = FIELD(disk_spec, format),
	 .effect = EFFECT_WIPE, .words = &spec_format_words,
	 .fallback = "\"qcow2\"", .example = "\"qcow2\"",
	 .help = "Kind of the host's file."},
	{"partitions", T_LIST, .field = FIELD(disk_spec, partitions),
	 .second = FIELD(disk_spec, n_partitions),
	 .effect = EFFECT_WIPE, .max = PARTITIONS_MAX, .sub = &partition_sub,
	 .example = "[{\"size\":\"100%\",\"filesystem\":\"ext4\"}]",
	 .limits = "they fit the disk; an mbr table holds 4",
	 .help = "In the order of the disk; without it the disk is left "
		 "blank."},
};
SUB(disk_sub, disk_keys);

static const struct spec_key volume_keys[] = {
	{"size", T_SIZE, REQUIRED, .field = FIELD(volume_spec, size),
	 .effect = EFFECT_LIVE, .min = 16 * MIB, .max = 64 * (1ULL << 40),
	 .example = "\"1G\"", .limits = "may grow, never shrinks",
	 .help = "What the guest sees."},
	{"filesystem", T_WORD, .field = FIELD(volume_spec, filesystem),
	 .effect = EFFECT_WIPE, .words = &spec_filesystem_words,
	 .fallback = "\"ext4\"", .example = "\"ext4\"",
	 .help = "What it is formatted with."},
	{"label", T_TEXT, .field = FIELD(volume_spec, label),
	 .effect = EFFECT_WIPE, .check = check_label, .min = 1, .max = 16,
	 .example = "\"data\"", .help = "Label of the file system."},
	{"mount", T_TEXT, .field = FIELD(volume_spec, mount),
	 .effect = EFFECT_LIVE, .check = check_mount, .min = 1,
	 .max = MOUNT_MAX, .example = "\"/srv\"", .help = "Where it is mounted."},
};
ENTRIES(volume_sub, volume_keys, volume_spec, "<name>", NULL);

static const struct spec_key install_keys[] = {
	{"image", T_TEXT, REQUIRED, .field = FIELD(install_spec, image),
	 .effect = EFFECT_WIPE, .check = check_entry,
	 .min = 1, .max = NAME_MAX_LABEL, .example = "\"debian\"",
	 .limits = "an entry of images/ of kind rootfs, disk or closure",
	 .help = "The system that is put on the disk."},
	{"cloud_init", T_BOOL, .field = FIELD(install_spec, cloud_init),
	 .effect = EFFECT_WIPE, .fallback = "false", .example = "true",
	 .limits = "for images of kind disk",
	 .help = "A NoCloud disk is made from the spec."},
};
SUB(install_sub, install_keys);

static const struct spec_key file_keys[] = {
	{"content", T_TEXT, SECRET, .field = FIELD(file_spec, content),
	 .max = SPEC_MAX, .example = "\"hello\\n\"",
	 .help = "The text of the file."},
	{"source", T_TEXT, .field = FIELD(file_spec, source),
	 .check = check_path, .min = 1, .max = PATH_LIMIT,
	 .example = "\"motd\"", .limits = "host path, watched",
	 .help = "The file that it is a copy of."},
	{"mode", T_TEXT, .field = FIELD(file_spec, mode),
	 .check = check_mode, .min = 3, .max = 4, .fallback = "\"0644\"",
	 .example = "\"0644\"", .help = "Mode, octal."},
	{"owner", T_TEXT, .field = FIELD(file_spec, owner),
	 .check = check_owner, .min = 1, .max = 65,
	 .fallback = "\"root:root\"", .example = "\"root:root\"",
	 .limits = "names or numbers",
	 .help = "User and group in the guest."},
};
ENTRIES(file_sub, file_keys, file_spec, "<path>", NULL);

static const struct spec_key service_keys[] = {
	{"unit", T_TEXT, SECRET, .field = FIELD(service_spec, unit),
	 .max = SPEC_MAX,
	 .example = "\"[Service]\\nExecStart=/bin/x\\n\"",
	 .help = "Text of the systemd unit."},
	{"source", T_TEXT, .field = FIELD(service_spec, source),
	 .check = check_path, .min = 1, .max = PATH_LIMIT,
	 .example = "\"etcd.service\"", .limits = "host path, watched",
	 .help = "The file that the unit is a copy of."},
	{"check", T_TEXT, .field = FIELD(service_spec, check),
	 .check = check_check, .min = 1, .max = 1024,
	 .fallback = "\"systemd\"", .example = "\"tcp:2379\"",
	 .limits = "tcp:PORT, http:PORT/PATH, exec:..., systemd",
	 .help = "How to tell that it works; shown in `checks`."},
	{"required", T_BOOL, .field = FIELD(service_spec, required),
	 .fallback = "false", .example = "true",
	 .help = "true: the node is up once the check passes, and failed when "
		 "it does no longer; false: a failing check shows in `checks` "
		 "only."},
	{"uses", T_STRINGS, .field = FIELD(service_spec, uses),
	 .check = check_guest_path, .max = 64,
	 .example = "[\"/etc/etcd.conf\"]",
	 .help = "Paths of `files`, or tls.dir, whose change restarts it."},
	{"after", T_STRINGS, .field = FIELD(service_spec, after),
	 .check = check_unit_name, .max = 64, .example = "[\"containerd\"]",
	 .help = "Services that come first."},
};
ENTRIES(service_sub, service_keys, service_spec, "<name>", NULL);

static const struct spec_key run_keys[] = {
	{"command", T_STRINGS, REQUIRED | SECRET,
	 .field = FIELD(run_spec, command), .check = check_argument,
	 .min = 1, .max = ARGS_MAX, .example = "[\"/bin/true\"]",
	 .help = "Run once for each content of this entry."},
	{"after", T_STRINGS, .field = FIELD(run_spec, after),
	 .check = check_entry, .max = 64, .example = "[\"first\"]",
	 .help = "Entries that come first."},
};
ENTRIES(run_sub, run_keys, run_spec, "<name>", NULL);

static const struct spec_key node_tls_keys[] = {
	{"names", T_STRINGS, .field = FIELD(tls_spec, names),
	 .check = check_host_name, .max = TLS_NAMES_MAX,
	 .example = "[\"api.example\"]",
	 .limits = "DNS names and IPv4 addresses; the node's own are there "
		   "anyway",
	 .help = "More names in the node's certificate."},
	{"dir", T_TEXT, .field = FIELD(tls_spec, dir),
	 .check = check_guest_path, .min = 1, .max = PATH_LIMIT,
	 .fallback = "\"/etc/rackfs/tls\"", .example = "\"/etc/rackfs/tls\"",
	 .help = "Where ca.crt, cert.pem and key.pem are put in the guest."},
	{"owner", T_TEXT, .field = FIELD(tls_spec, owner),
	 .check = check_owner, .min = 1, .max = 65,
	 .fallback = "\"root:root\"", .example = "\"etcd:etcd\"",
	 .help = "User and group of them."},
};
SUB(node_tls_sub, node_tls_keys);

static const struct spec_key qemu_keys[] = {
	{"args", T_STRINGS, SECRET, .field = FIELD(node_spec, qemu_args),
	 .effect = EFFECT_RESTART, .check = check_argument, .max = ARGS_MAX,
	 .example = "[\"-device\",\"virtio-balloon-pci\"]",
	 .help = "More arguments for QEMU, taken as they are."},
};
SUB(qemu_sub, qemu_keys);

static const struct spec_key fake_keys[] = {
	{"delay", T_USEC, .field = FIELD(fake_spec, delay),
	 .max = HOUR, .fallback = "\"0ms\"", .example = "\"100ms\"",
	 .help = "How long each stage takes."},
	{"fail", T_STRINGS, .field = FIELD(fake_spec, fail),
	 .check = check_stage, .max = 10, .example = "[\"boot\"]",
	 .limits = "names of stages, check",
	 .help = "Stages that fail; check: those of `checks`."},
	{"fail_times", T_INT, .field = FIELD(fake_spec, fail_times),
	 .max = 1000000, .fallback = "1", .example = "1",
	 .help = "How often each of them fails before it succeeds."},
};
SUB(fake_sub, fake_keys);

static const struct spec_key node_keys[] = {
	{"driver", T_CHOICE, .field = FIELD(node_spec, driver),
	 .effect = EFFECT_RESTART, .words = &node_drivers,
	 .fallback = "\"qemu\"", .example = "\"qemu\"",
	 .help = "What the machine is made of; fake: nothing, every stage is "
		 "played."},
	{"cpus", T_INT, .field = FIELD(node_spec, cpus),
	 .effect = EFFECT_RESTART, .min = 1, .max = CPUS_MAX,
	 .fallback = "1", .example = "2",
	 .help = "Number of processors."},
	{"memory", T_SIZE, .field = FIELD(node_spec, memory),
	 .effect = EFFECT_RESTART, .min = 64 * MIB, .max = 1ULL << 40,
	 .fallback = "\"512M\"", .example = "\"512M\"",
	 .help = "Memory of the machine."},
	{"boot", T_OBJECT, .sub = &boot_sub,
	 .fallback = "{}", .example = "{\"image\":\"netboot\"}",
	 .help = "What it boots, and how."},
	{"boot_timeout", T_USEC, .field = FIELD(node_spec, boot_timeout),
	 .effect = EFFECT_LIVE, .min = USEC_PER_SEC, .max = HOUR,
	 .fallback = "\"10m\"", .example = "\"10m\"",
	 .help = "From the start to SSH; then the boot has failed."},
	{"boot_silence", T_USEC, .field = FIELD(node_spec, boot_silence),
	 .has = FIELD(node_spec, has_boot_silence),
	 .effect = EFFECT_LIVE, .max = HOUR,
	 .fallback = "\"60s\"", .example = "\"60s\"",
	 .limits = "0s: off; off unless written for images with identity none",
	 .help = "Since the last byte on the console; then the boot has "
		 "failed."},
	{"stop_timeout", T_USEC, .field = FIELD(node_spec, stop_timeout),
	 .effect = EFFECT_LIVE, .max = HOUR,
	 .fallback = "\"30s\"", .example = "\"30s\"",
	 .help = "From the request to power off until the plug is pulled."},
	{"nics", T_MAP, .field = FIELD(node_spec, nics),
	 .second = FIELD(node_spec, n_nics), .effect = EFFECT_RESTART,
	 .max = NICS_MAX, .sub = &nic_sub, .check_name = check_entry,
	 .fallback = "{\"lan\":{}}", .example = "{\"lan\":{}}",
	 .help = "Network cards, by name; one that is written after the others "
		 "comes while the machine runs, and one that is taken away is "
		 "unplugged."},
	{"ssh", T_OBJECT, .sub = &ssh_sub,
	 .fallback = "{}", .example = "{\"port\":2201}",
	 .help = "How rackfs and you log in."},
	{"internet", T_BOOL, .field = FIELD(node_spec, internet),
	 .effect = EFFECT_RESTART, .fallback = "false", .example = "true",
	 .help = "true: the management NIC leads outside."},
	{"forwards", T_FORWARDS, .field = FIELD(node_spec, forwards),
	 .second = FIELD(node_spec, n_forwards), .effect = EFFECT_LIVE,
	 .min = 1, .max = FORWARDS_MAX,
	 .fallback = "{}", .example = "{\"8080\":80}",
	 .limits = "ports 1-65535; a host port is used once",
	 .help = "Ports of 127.0.0.1 that lead to ports of the node; they come "
		 "and go while the machine runs."},
	{"disk", T_OBJECT, .field = FIELD(node_spec, disk),
	 .has = FIELD(node_spec, disk.present), .effect = EFFECT_RESTART,
	 .sub = &disk_sub, .example = "{\"size\":\"4G\"}",
	 .help = "A disk of the machine's own."},
	{"volumes", T_MAP, .field = FIELD(node_spec, volumes),
	 .second = FIELD(node_spec, n_volumes), .effect = EFFECT_RESTART,
	 .max = VOLUMES_MAX, .sub = &volume_sub, .check_name = check_entry,
	 .example = "{\"data\":{\"size\":\"1G\"}}",
	 .help = "More disks of one file system each; they come and grow while "
		 "the machine runs."},
	{"install", T_OBJECT, .field = FIELD(node_spec, install),
	 .has = FIELD(node_spec, install.present), .effect = EFFECT_RESTART,
	 .sub = &install_sub, .example = "{\"image\":\"debian\"}",
	 .limits = "rootfs, closure: a partition mounted at /; disk: no "
		   "partitions",
	 .help = "The operating system that is put on the disk."},
	{"files", T_MAP, .field = FIELD(node_spec, files),
	 .second = FIELD(node_spec, n_files), .effect = EFFECT_LIVE,
	 .max = NODE_FILES_MAX, .sub = &file_sub, .check_name = check_guest_path,
	 .example = "{\"/etc/motd\":{\"content\":\"hello\\n\"}}",
	 .limits = "absolute, no ..",
	 .help = "Files in the guest, by path."},
	{"services", T_MAP, .field = FIELD(node_spec, services),
	 .second = FIELD(node_spec, n_services), .effect = EFFECT_LIVE,
	 .max = SERVICES_MAX, .sub = &service_sub,
	 .check_name = check_unit_name,
	 .example = "{\"etcd\":{\"source\":\"etcd.service\"}}",
	 .limits = "asks for install",
	 .help = "systemd services, by name."},
	{"run", T_MAP, .field = FIELD(node_spec, runs),
	 .second = FIELD(node_spec, n_runs), .effect = EFFECT_LIVE,
	 .max = RUNS_MAX, .sub = &run_sub, .check_name = check_entry,
	 .example = "{\"hello\":{\"command\":[\"/bin/true\"]}}",
	 .help = "Commands that are run once, by name."},
	{"tls", T_OBJECT, .field = FIELD(node_spec, tls),
	 .has = FIELD(node_spec, tls.present), .effect = EFFECT_LIVE,
	 .sub = &node_tls_sub,
	 .example = "{}",
	 .help = "A certificate of the cluster's authority."},
	{"after", T_STRINGS, .field = FIELD(node_spec, after),
	 .effect = EFFECT_LIVE, .check = check_entry, .max = 64,
	 .example = "[\"node01\"]",
	 .limits = "nodes; a cycle is refused",
	 .help = "Nodes that must be up first."},
	{"qemu", T_OBJECT, .effect = EFFECT_RESTART, .sub = &qemu_sub,
	 .example = "{\"args\":[]}",
	 .help = "For driver qemu."},
	{"fake", T_OBJECT, .field = FIELD(node_spec, fake),
	 .effect = EFFECT_LIVE, .sub = &fake_sub,
	 .fallback = "{}", .example = "{\"delay\":\"100ms\"}",
	 .help = "For driver fake."},
};
SUB(node_sub, node_keys);

/* --- network --------------------------------------------------------------- */

static const struct spec_key network_keys[] = {
	{"driver", T_CHOICE, .field = FIELD(network_spec, driver),
	 .words = &network_drivers,
	 .fallback = "\"vde\"", .example = "\"vde\"",
	 .help = "What the network is made of."},
	{"subnet", T_CIDR, .field = FIELD(network_spec, subnet),
	 .second = FIELD(network_spec, prefix),
	 .has = FIELD(network_spec, has_subnet), .min = 8, .max = 29,
	 .example = "\"10.36.0.0/24\"",
	 .limits = "/8 to /29, no overlap with another network, not in "
		   "10.0.2.0/24 (the management NIC); default: "
		   "10.36.0.0/24 for lan, then the next free 10.36.N.0/24",
	 .help = "IPv4 addresses of its nodes."},
	{"hub", T_BOOL, .field = FIELD(network_spec, hub),
	 .fallback = "false", .example = "true",
	 .help = "true: every frame to every port; a switch drops what it "
		 "doesn't know, e.g. 802.1Q."},
	{"mtu", T_INT, .field = FIELD(network_spec, mtu),
	 .min = 576, .max = 9000, .fallback = "1500", .example = "1500",
	 .help = "Largest packet, in bytes."},
};
SUB(network_sub, network_keys);

/* --- image ------------------------------------------------------------------- */

static const struct spec_key image_keys[] = {
	{"kind", T_WORD, .field = FIELD(image_spec, kind),
	 .words = &spec_image_words, .example = "\"netboot\"",
	 .limits = "without it the image is missing",
	 .help = "What it is."},
	{"build", T_CHOICE, .field = FIELD(image_spec, build),
	 .words = &builds, .example = "\"debian\"",
	 .limits = "default for netboot without kernel and initrd: debian",
	 .help = "Made by rackfs out of packages of this distribution."},
	{"packages", T_STRINGS, .field = FIELD(image_spec, packages),
	 .check = check_package, .max = PACKAGES_MAX,
	 .example = "[\"tcpdump\"]", .limits = "only with build",
	 .help = "More packages in it."},
	{"kernel", T_TEXT, .field = FIELD(image_spec, kernel),
	 .check = check_path, .min = 1, .max = PATH_LIMIT,
	 .example = "\"/boot/vmlinuz\"", .limits = "host path; with initrd",
	 .help = "A kernel of your own."},
	{"initrd", T_TEXT, .field = FIELD(image_spec, initrd),
	 .check = check_path, .min = 1, .max = PATH_LIMIT,
	 .example = "\"/boot/initrd.img\"", .limits = "host path; with kernel",
	 .help = "An initrd of your own."},
	{"cmdline", T_TEXT, .field = FIELD(image_spec, cmdline),
	 .check = check_line, .min = 1, .max = CMDLINE_MAX,
	 .example = "\"console=ttyS0\"",
	 .limits = "one line of ASCII; default: that of our own image",
	 .help = "Kernel command line."},
	{"identity", T_WORD, .field = FIELD(image_spec, identity),
	 .words = &spec_identity_words,
	 .fallback = "\"rackfs\"", .example = "\"none\"",
	 .help = "rackfs: its init takes the node's identity; none: it can't, "
		 "and up means that SSH answers with host_key."},
	{"user_key", T_TEXT, .field = FIELD(image_spec, user_key),
	 .check = check_path, .min = 1, .max = PATH_LIMIT,
	 .example = "\"id_ed25519\"",
	 .limits = "host path; with identity none, required there",
	 .help = "Private key to log in with."},
	{"host_key", T_TEXT, .field = FIELD(image_spec, host_key),
	 .check = check_path, .min = 1, .max = PATH_LIMIT,
	 .example = "\"ssh_host_ed25519_key.pub\"",
	 .limits = "host path; with identity none, required there",
	 .help = "The image's public host key, to be sure who answers."},
	{"source", T_TEXT, .field = FIELD(image_spec, source),
	 .check = check_path, .min = 1, .max = PATH_LIMIT,
	 .example = "\"debian.tar.zst\"",
	 .limits = "host path of tar, tar.zst, tar.xz, raw, qcow2, or a store "
		   "path or export",
	 .help = "What a rootfs, disk or closure is made from."},
	{"sha256", T_TEXT, .field = FIELD(image_spec, sha256),
	 .check = check_sha256,
	 .min = 64, .max = 64, .example = "\"<64 hexadecimal digits>\"",
	 .help = "Digest that source must have."},
	{"root", T_TEXT, .field = FIELD(image_spec, root),
	 .check = check_line, .min = 1, .max = CMDLINE_MAX,
	 .example = "\"LABEL=root\"",
	 .limits = "default: UUID= of the partition mounted at /",
	 .help = "What the kernel of a rootfs or closure is told as root=."},
	{"init", T_TEXT, .field = FIELD(image_spec, init),
	 .check = check_guest_path, .min = 1, .max = PATH_LIMIT,
	 .example = "\"/sbin/init\"",
	 .limits = "default: /sbin/init; of a closure its own",
	 .help = "What a rootfs or closure boots with."},
};
SUB(image_sub, image_keys);

/* --- cluster ------------------------------------------------------------------- */

static const struct spec_key check_keys[] = {
	{"from", T_TEXT, .field = FIELD(check_spec, from),
	 .check = check_entry, .min = 1, .max = NAME_MAX_LABEL,
	 .fallback = "\"host\"", .example = "\"node01\"", .limits = "a node, or host",
	 .help = "Where the check runs."},
	{"command", T_STRINGS, .field = FIELD(check_spec, command),
	 .check = check_argument, .min = 1, .max = ARGS_MAX,
	 .example = "[\"/bin/true\"]", .help = "Passes when it ends with 0."},
	{"tcp", T_TEXT, .field = FIELD(check_spec, tcp),
	 .check = check_line, .min = 1, .max = 300,
	 .limits = "a node or an address, and a port",
	 .example = "\"node02:80\"", .help = "Passes when it connects."},
	{"http", T_TEXT, .field = FIELD(check_spec, http),
	 .check = check_line, .min = 1, .max = 2048,
	 .limits = "http:// and a node or an address",
	 .example = "\"http://node02/\"", .help = "Passes with a 2xx or 3xx answer."},
	{"every", T_USEC, .field = FIELD(check_spec, every),
	 .min = USEC_PER_SEC, .max = DAY,
	 .fallback = "\"10s\"", .example = "\"10s\"", .help = "How often it runs."},
	{"timeout", T_USEC, .field = FIELD(check_spec, timeout),
	 .min = USEC_PER_SEC, .max = HOUR,
	 .fallback = "\"5s\"", .example = "\"5s\"", .help = "For one try."},
};
ENTRIES(check_sub, check_keys, check_spec, "<name>", NULL);

static const struct spec_key cluster_tls_keys[] = {
	{"days", T_INT, .field = FIELD(cluster_spec, tls_days),
	 .min = 1, .max = 36500,
	 .fallback = "365", .example = "365",
	 .help = "How long a certificate is good for."},
	{"organization", T_TEXT,
	 .field = FIELD(cluster_spec, tls_organization),
	 .check = check_organization, .min = 1, .max = 64,
	 .example = "\"Example\"", .help = "In the certificates' names."},
};
SUB(cluster_tls_sub, cluster_tls_keys);

static const struct spec_key cluster_keys[] = {
	{"name", T_TEXT, .field = FIELD(cluster_spec, name),
	 .check = check_entry, .min = 1, .max = NAME_MAX_LABEL,
	 .fallback = "\"cluster\"", .example = "\"cluster\"",
	 .limits = "RFC 1123 label",
	 .help = "Name of the cluster."},
	{"domain", T_TEXT, .field = FIELD(cluster_spec, domain),
	 .check = check_domain, .min = 1, .max = DOMAIN_MAX,
	 .fallback = "\"cluster.internal\"",
	 .example = "\"cluster.internal\"",
	 .limits = "DNS name",
	 .help = "Nodes are node01 and node01.cluster.internal."},
	{"authorized_keys", T_STRINGS,
	 .field = FIELD(cluster_spec, authorized_keys),
	 .check = check_public_key, .max = KEYS_MAX,
	 .example = "[\"ssh-ed25519 AAAA... me\"]",
	 .limits = "OpenSSH public keys",
	 .help = "Who may log in to the nodes; the daemon's key is added."},
	{"defaults", T_NODE,
	 .example = "{\"memory\":\"1G\"}",
	 .limits = "a partial node spec",
	 .help = "Merged (RFC 7396) under the spec of every node."},
	{"on_drift", T_WORD, .field = FIELD(cluster_spec, on_drift),
	 .words = &spec_drift_words,
	 .fallback = "\"repair\"", .example = "\"report\"",
	 .help = "What to do when a node is no longer as its spec says."},
	{"observe_every", T_USEC, .field = FIELD(cluster_spec, observe_every),
	 .max = DAY, .fallback = "\"60s\"", .example = "\"60s\"",
	 .limits = "0s: only at boot and when up is written; else at least 1s",
	 .help = "How often every node is looked at."},
	{"checks", T_MAP, .field = FIELD(cluster_spec, checks),
	 .second = FIELD(cluster_spec, n_checks), .max = CHECKS_MAX,
	 .sub = &check_sub,
	 .check_name = check_entry,
	 .example = "{\"web\":{\"from\":\"node01\",\"tcp\":\"node02:80\"}}",
	 .help = "What must work, by name."},
	{"tls", T_OBJECT, .sub = &cluster_tls_sub,
	 .fallback = "{}", .example = "{\"days\":365}",
	 .help = "The cluster's certificate authority."},
};
SUB(cluster_sub, cluster_keys);

/* clang-format on */

const struct spec_sub *spec_keys(enum spec_kind kind)
{
	static const struct spec_sub *const kinds[] = {
	    [SPEC_CLUSTER] = &cluster_sub,
	    [SPEC_NETWORK] = &network_sub,
	    [SPEC_IMAGE] = &image_sub,
	    [SPEC_NODE] = &node_sub,
	};
	_Static_assert(ARRAY_SIZE(kinds) == SPEC_KINDS, "a kind is missing");
	return kinds[kind];
}
