#define _GNU_SOURCE
#include "Networks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int jc_network_current(void) {
    int network = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return network < 0 ? -errno : network;
}

int jc_network_enter(int network) { return setns(network, CLONE_NEWNET) == 0 ? 0 : -errno; }

// MARK: Messages

/// A request to the kernel's routing part, as it grows.
struct request {
    struct nlmsghdr header;
    char rest[1024];
};

static void *grow(struct request *request, size_t size) {
    void *place = (char *)request + NLMSG_ALIGN(request->header.nlmsg_len);
    memset(place, 0, size);
    request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + (uint32_t)size;
    return place;
}

static void *begin(struct request *request, uint16_t type, uint16_t flags, size_t body) {
    memset(request, 0, sizeof *request);
    request->header.nlmsg_len = NLMSG_HDRLEN;
    request->header.nlmsg_type = type;
    request->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    return grow(request, body);
}

static struct rtattr *add(struct request *request, uint16_t type, const void *value, size_t size) {
    struct rtattr *attribute = grow(request, RTA_LENGTH(size));
    attribute->rta_type = type;
    attribute->rta_len = (uint16_t)RTA_LENGTH(size);
    if (size > 0) memcpy(RTA_DATA(attribute), value, size);
    return attribute;
}

/// Everything since `attribute` was added is inside of it.
static void close_nest(struct request *request, struct rtattr *attribute) {
    attribute->rta_len = (uint16_t)((char *)request + request->header.nlmsg_len - (char *)attribute);
}

/// Sends a request to the kernel for this thread's namespace and waits for its answer.
static int ask(struct request *request) {
    int file = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (file < 0) return -errno;
    int answer = -EPROTO;
    char buffer[4096] __attribute__((aligned(NLMSG_ALIGNTO)));
    if (send(file, request, request->header.nlmsg_len, 0) < 0) {
        answer = -errno;
    } else {
        ssize_t size;
        while ((size = recv(file, buffer, sizeof buffer, 0)) < 0 && errno == EINTR) {}
        struct nlmsghdr *header = (struct nlmsghdr *)buffer;
        if (size < 0) answer = -errno;
        else if (NLMSG_OK(header, (size_t)size) && header->nlmsg_type == NLMSG_ERROR)
            answer = ((struct nlmsgerr *)NLMSG_DATA(header))->error;
    }
    close(file);
    return answer;
}

static int set_up(const char *name) {
    struct request request;
    struct ifinfomsg *link = begin(&request, RTM_NEWLINK, 0, sizeof *link);
    link->ifi_index = (int)if_nametoindex(name);
    if (link->ifi_index == 0) return -errno;
    link->ifi_flags = link->ifi_change = IFF_UP;
    return ask(&request);
}

// MARK: Networks

/// A program may listen on port 80 without being root, in a network of its own. Where it may not, it is told so.
static void free_low_ports(void) {
    int file = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    if (write(file, "0", 1) < 0) errno = 0;
    close(file);
}

int jc_network_make(void) {
    int home = jc_network_current();
    if (home < 0) return home;
    int result = unshare(CLONE_NEWNET) == 0 ? set_up("lo") : -errno;
    if (result == 0) free_low_ports();
    if (result == 0) result = jc_network_current();
    int back = jc_network_enter(home);
    close(home);
    if (back < 0 && result >= 0) close(result);
    return back < 0 ? back : result;
}

int jc_bridge_make(const char *name) {
    struct request request;
    begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
    add(&request, IFLA_IFNAME, name, strlen(name) + 1);
    struct rtattr *info = add(&request, IFLA_LINKINFO, NULL, 0);
    add(&request, IFLA_INFO_KIND, "bridge", 6);
    close_nest(&request, info);
    int result = ask(&request);
    return result < 0 ? result : set_up(name);
}

static int make_pair(const char *bridge, const char *name, int network) {
    struct request request;
    begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
    uint32_t master = if_nametoindex(bridge);
    if (master == 0) return -errno;
    add(&request, IFLA_IFNAME, name, strlen(name) + 1);
    add(&request, IFLA_MASTER, &master, sizeof master);
    struct rtattr *info = add(&request, IFLA_LINKINFO, NULL, 0);
    add(&request, IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = add(&request, IFLA_INFO_DATA, NULL, 0);
    struct rtattr *peer = add(&request, VETH_INFO_PEER, NULL, 0);
    grow(&request, sizeof(struct ifinfomsg));
    add(&request, IFLA_IFNAME, "eth0", 5);
    add(&request, IFLA_NET_NS_FD, &network, sizeof network);
    close_nest(&request, peer);
    close_nest(&request, data);
    close_nest(&request, info);
    return ask(&request);
}

static int set_address(const char *name, uint32_t address, int prefix) {
    struct request request;
    struct ifaddrmsg *body = begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *body);
    body->ifa_family = AF_INET;
    body->ifa_prefixlen = (uint8_t)prefix;
    body->ifa_index = if_nametoindex(name);
    uint32_t bytes = htonl(address);
    add(&request, IFA_LOCAL, &bytes, sizeof bytes);
    add(&request, IFA_ADDRESS, &bytes, sizeof bytes);
    return ask(&request);
}

int jc_wire_make(const char *bridge, const char *name, int network, uint32_t address, int prefix) {
    int result = make_pair(bridge, name, network);
    if (result < 0) return result;
    if ((result = set_up(name)) < 0) return result;
    int home = jc_network_current();
    if (home < 0) return home;
    result = jc_network_enter(network);
    if (result >= 0) {
        result = set_address("eth0", address, prefix);
        if (result >= 0) result = set_up("eth0");
        int back = jc_network_enter(home);
        if (back < 0) result = back;
    }
    close(home);
    return result;
}
