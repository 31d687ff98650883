/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The request socket: one request at a time, answered before net_request() returns.
 *
 * libnl frames and checks the messages; errors are taken from the acknowledgement itself, since
 * libnl's own error numbers say less than the kernel's errno.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "net/net_internal.h"

#define REQUEST_TIMEOUT_S 5

/* Socket options and acknowledgement flags of kernel 4.12 and newer; older ones refuse the option,
 * and the kernel's sentence is then missing (linux/netlink.h). */
#ifndef NETLINK_CAP_ACK
#define NETLINK_CAP_ACK 10
#endif
#ifndef NETLINK_EXT_ACK
#define NETLINK_EXT_ACK 11
#endif

struct answer {
	struct net *net;
	net_answer_fn *each;
	void *arg;
	int error;
	bool complete;
};

static int on_message(struct nl_msg *msg, void *arg)
{
	struct answer *answer = arg;

	if (answer->each != NULL)
		answer->each(answer->arg, nlmsg_hdr(msg));
	return NL_OK;
}

static int on_acknowledged(struct nl_msg *msg, void *arg)
{
	struct answer *answer = arg;

	(void)msg;
	answer->complete = true;
	return NL_STOP;
}

/* The end of a dump carries its error, if it has one. */
static int on_dump_done(struct nl_msg *msg, void *arg)
{
	struct answer *answer = arg;
	struct nlmsghdr *message = nlmsg_hdr(msg);
	int error;

	if (nlmsg_datalen(message) >= (int)sizeof(error)) {
		memcpy(&error, nlmsg_data(message), sizeof(error));
		if (error < 0)
			answer->error = error;
	}
	answer->complete = true;
	return NL_STOP;
}

/* Keeps the kernel's sentence, which follows the error and (unless it was cut off) our request. */
static void keep_kernel_text(struct net *net, const struct nlmsgerr *error)
{
	const struct nlmsghdr *message =
		(const void *)((const char *)error - NLMSG_ALIGN(sizeof(*message)));
	size_t skip = sizeof(*error);
	struct nlattr *attribute;
	int rest;

	if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0)
		return;
	if ((message->nlmsg_flags & NLM_F_CAPPED) == 0)
		skip += NLMSG_ALIGN(error->msg.nlmsg_len) - sizeof(error->msg);
	if (nlmsg_datalen(message) < (int)skip)
		return;
	rest = nlmsg_datalen(message) - (int)skip;
	attribute = nla_find((const void *)((const char *)error + skip), rest, NLMSGERR_ATTR_MSG);
	if (attribute != NULL)
		nla_strlcpy(net->kernel_text, attribute, sizeof(net->kernel_text));
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *arg)
{
	struct answer *answer = arg;

	(void)from;
	answer->error = error->error;
	answer->complete = true;
	keep_kernel_text(answer->net, error);
	return NL_STOP;
}

static int requests_open(struct net *net)
{
	struct timeval limit = { .tv_sec = REQUEST_TIMEOUT_S };
	struct nl_sock *sock = nl_socket_alloc();
	int on = 1, error;

	if (sock == NULL)
		return -ENOMEM;
	errno = 0;
	if (nl_connect(sock, NETLINK_ROUTE) < 0) {
		error = errno != 0 ? -errno : -EIO;
		nl_socket_free(sock);
		return error;
	}
	/* Answers of any size: look first, then read. */
	nl_socket_enable_msg_peek(sock);
	setsockopt(nl_socket_get_fd(sock), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(nl_socket_get_fd(sock), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(nl_socket_get_fd(sock), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(nl_socket_get_fd(sock), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	net->requests = sock;
	return 0;
}

static void requests_close(struct net *net)
{
	nl_socket_free(net->requests);
	net->requests = NULL;
}

struct nl_msg *net_message_new(int type, int flags, const void *header, size_t header_size)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, flags);

	if (msg != NULL && nlmsg_append(msg, (void *)header, header_size, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return msg;
}

bool net_message_put_addr(struct nl_msg *msg, int attribute, const struct addr *address)
{
	return nla_put(msg, attribute, (int)addr_length_bytes(address), address->bytes) == 0;
}

struct addr net_attribute_addr(int family, const struct nlattr *attribute)
{
	struct addr address = { .family = (uint16_t)family };

	if (attribute == NULL || (family != AF_INET && family != AF_INET6) ||
	    (size_t)nla_len(attribute) != addr_length_bytes(&address))
		return (struct addr){ .family = AF_UNSPEC };
	memcpy(address.bytes, nla_data(attribute), addr_length_bytes(&address));
	return address;
}

/* Reads until the answer is complete. */
static int receive(struct net *net, struct nl_cb *callbacks, struct answer *answer)
{
	while (!answer->complete) {
		int status;

		errno = 0;
		status = nl_recvmsgs(net->requests, callbacks);
		if (answer->complete)
			return status == -NLE_DUMP_INTR ? -EINTR : answer->error;
		if (status == -NLE_AGAIN)
			return -ETIMEDOUT;
		if (status == -NLE_NOMEM)
			return errno != 0 ? -errno : -ENOMEM;
		if (status < 0)
			return errno != 0 ? -errno : -EPROTO;
	}
	return answer->error;
}

static int exchange(struct net *net, struct nl_msg *msg, struct answer *answer)
{
	struct nl_cb *callbacks = nl_cb_alloc(NL_CB_DEFAULT);
	int error;

	if (callbacks == NULL)
		return -ENOMEM;
	nl_cb_set(callbacks, NL_CB_VALID, NL_CB_CUSTOM, on_message, answer);
	nl_cb_set(callbacks, NL_CB_ACK, NL_CB_CUSTOM, on_acknowledged, answer);
	nl_cb_set(callbacks, NL_CB_FINISH, NL_CB_CUSTOM, on_dump_done, answer);
	nl_cb_err(callbacks, NL_CB_CUSTOM, on_error, answer);

	errno = 0;
	if (nl_send_auto(net->requests, msg) < 0)
		error = errno != 0 ? -errno : -EIO;
	else
		error = receive(net, callbacks, answer);
	nl_cb_put(callbacks);
	/* After half an answer the socket is out of step: begin with a new one next time. */
	if (!answer->complete)
		requests_close(net);
	return error;
}

int net_request(struct net *net, struct nl_msg *msg, net_answer_fn *each, void *arg)
{
	struct answer answer = { .net = net, .each = each, .arg = arg };
	int error = 0;

	net->kernel_text[0] = '\0';
	if (msg == NULL)
		return -ENOMEM;
	if (net->requests == NULL)
		error = requests_open(net);
	if (error == 0)
		error = exchange(net, msg, &answer);
	nlmsg_free(msg);
	return error;
}

const char *net_strerror(struct net *net, int error)
{
	char text[NET_KERNEL_TEXT_SIZE];
	const char *reason = strerror(-error);

	if (error == -EPERM)
		reason = "this needs root (CAP_NET_ADMIN)";
	else if (error == -ETIMEDOUT)
		reason = "the kernel did not answer";
	memcpy(text, net->kernel_text, sizeof(text));
	if (text[0] == '\0')
		snprintf(net->kernel_text, sizeof(net->kernel_text), "%s", reason);
	else
		snprintf(net->kernel_text, sizeof(net->kernel_text), "%s (%.100s)", reason, text);
	return net->kernel_text;
}

int net_open(uv_loop_t *loop, struct net **ret, struct errbuf *err)
{
	struct net *net = calloc(1, sizeof(*net));
	int error;

	if (net == NULL)
		return errbuf_set(err, -ENOMEM, "out of memory");
	net->loop = loop;
	error = requests_open(net);
	if (error < 0) {
		free(net);
		return errbuf_set(err, error, "cannot open a netlink socket: %s", strerror(-error));
	}
	error = net_events_open(net, err);
	if (error < 0) {
		requests_close(net);
		free(net);
		return error;
	}
	*ret = net;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct net *net = handle->data;
	struct net_subscription *next;

	for (struct net_subscription *s = net->subscriptions; s != NULL; s = next) {
		next = s->next;
		free(s);
	}
	free(net);
}

void net_close(struct net *net)
{
	if (net == NULL)
		return;
	net->closing = true;
	requests_close(net);
	net_events_close(net, on_closed);
}
