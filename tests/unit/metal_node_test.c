/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * equinix_metal: which device the node is, its BGP peers, and the routes to them, in a lab of
 * namespaces (root) with the stand-in of the API.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cloud/equinix_metal.h"
#include "metal_lab.h"
#include "net_lab.h"

struct fixture {
	uv_loop_t loop;
	struct standin standin;
	struct net *net;
	struct equinix_metal *metal;
	bool closed;
	char reports[8192];
	char peers[2048]; /* what happened to peers, in words */
	struct errbuf err;
};

static void note(char *to, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void note(char *to, size_t size, const char *format, ...)
{
	size_t used = strlen(to);
	va_list args;

	va_start(args, format);
	vsnprintf(to + used, size - used, format, args);
	va_end(args);
}

static void on_report(void *arg, bool trouble, const char *sentence)
{
	struct fixture *f = arg;

	note(f->reports, sizeof(f->reports), "%s%s\n", trouble ? "! " : "", sentence);
}

static void on_added(void *arg, const struct equinix_metal_peer *peer)
{
	char text[ADDR_TEXT_SIZE], source[ADDR_TEXT_SIZE] = "-";
	struct fixture *f = arg;

	if (peer->source.family != AF_UNSPEC)
		addr_format(&peer->source, source);
	note(f->peers, sizeof(f->peers), "+%s as %u from %s as %u hops %u password %s\n",
	     addr_format(&peer->address, text), peer->as, source, peer->local_as, peer->multihop,
	     peer->password);
}

static void on_removed(void *arg, const struct addr *address)
{
	char text[ADDR_TEXT_SIZE];
	struct fixture *f = arg;

	note(f->peers, sizeof(f->peers), "-%s\n", addr_format(address, text));
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	uv_loop_init(&f->loop);
	lab_run("ip link set lo up");
	lab_wire();
	assert_int_equal(net_open(&f->loop, &f->net, &f->err), 0);
	standin_start(&f->standin, false);
	*state = f;
	return 0;
}

static void on_closed(void *arg)
{
	((struct fixture *)arg)->closed = true;
}

static bool is_closed(void *arg)
{
	return ((struct fixture *)arg)->closed;
}

static void close_metal(struct fixture *f, bool keep_routes)
{
	f->closed = false;
	equinix_metal_close(f->metal, keep_routes, on_closed, f);
	f->metal = NULL;
	assert_true(metal_turn_until(&f->loop, 5000, is_closed, f));
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->metal != NULL)
		close_metal(f, false);
	net_close(f->net);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	standin_check(&f->standin);
	standin_stop(&f->standin);
	free(f);
	return 0;
}

static int open_wait(struct fixture *f, const char *device, uint64_t refresh_ms)
{
	const struct equinix_metal_config config = {
		.loop = &f->loop,
		.net = f->net,
		.url = f->standin.url,
		.token = STANDIN_TOKEN,
		.project = STANDIN_PROJECT,
		.facility = "am6",
		.device = device,
		.report = on_report,
		.report_arg = f,
		.request_timeout_ms = 600,
		.attempt_timeout_ms = 300,
		.backoff_ms = 20,
		.retry_ms = 100,
		.refresh_ms = refresh_ms,
	};
	int error;

	f->reports[0] = f->peers[0] = '\0';
	assert_int_equal(equinix_metal_open(&config, &f->metal, &f->err), 0);
	error = equinix_metal_wait(f->metal, &f->err);
	equinix_metal_watch_peers(f->metal, on_added, on_removed, f);
	return error;
}

/* A device with the lab's addresses, whose gateway is the lab's other end. */
#define LAB_DEVICE(id, hostname, facility)                                             \
	"{'id':'" id "','hostname':'" hostname "','facility':{'code':'" facility "'}," \
	"'ip_addresses':[{'address':'198.51.100.5','gateway':'198.51.100.4'},"         \
	"{'address':'10.9.0.1','gateway':'10.9.0.2'},{'address':'fd09::1','gateway':'fd09::2'}]}"

#define NEIGHBOUR4                                                                             \
	"{'address_family':4,'customer_as':65000,'customer_ip':'10.9.0.1','md5_enabled':true," \
	"'md5_password':'secret','multihop':true,'peer_as':65530,"                             \
	"'peer_ips':['169.254.255.1','169.254.255.2']}"
#define NEIGHBOUR6                                                                             \
	"{'address_family':6,'customer_as':65000,'customer_ip':'fd09::1','md5_enabled':false," \
	"'md5_password':null,'multihop':true,'peer_as':65530,'peer_ips':['fc00::e']}"

static void serve_lab(struct fixture *f)
{
	standin_set(&f->standin,
		    "{'devices':[" LAB_DEVICE("abc-1", "node-a",
					      "am6") "],"
						     "'neighbours':{'abc-1':[" NEIGHBOUR4
						     "," NEIGHBOUR6 "]}}");
}

static void check_via(struct fixture *f, const char *to, const char *via)
{
	struct addr dst = lab_addr(to), gateway = lab_addr(via);
	struct net_route route;

	assert_int_equal(net_route_get(f->net, &dst, NULL, 0, &route, &f->err), 0);
	assert_true(addr_equal(&route.gateway, &gateway));
}

static void test_peers_and_routes(void **state)
{
	struct fixture *f = *state;

	serve_lab(f);
	assert_int_equal(open_wait(f, "NODE-A", 0), 0); /* host names know no case */
	assert_int_equal(equinix_metal_local_as(f->metal), 65000);
	assert_string_equal(
		f->peers, "+169.254.255.1 as 65530 from 10.9.0.1 as 65000 hops 5 password secret\n"
			  "+169.254.255.2 as 65530 from 10.9.0.1 as 65000 hops 5 password secret\n"
			  "+fc00::e as 65530 from fd09::1 as 65000 hops 5 password \n");
	assert_string_equal(f->reports, "Querying BGP settings for [node-a]\n"
					"Route to BGP peer 169.254.255.1 is via 10.9.0.2\n"
					"Route to BGP peer 169.254.255.2 is via 10.9.0.2\n"
					"Route to BGP peer fc00::e is via fd09::2\n");
	check_via(f, "169.254.255.2", "10.9.0.2");
	check_via(f, "fc00::e", "fd09::2");

	/* Taken away by somebody, and with its device. */
	lab_run("ip route del 169.254.255.1");
	metal_turn(&f->loop, 400);
	check_via(f, "169.254.255.1", "10.9.0.2");
	lab_run("ip link set eth0 down && ip link set eth0 up && "
		"(ip addr add fd09::1/64 dev eth0 nodad || true)");
	metal_turn(&f->loop, 600);
	check_via(f, "169.254.255.1", "10.9.0.2");
	check_via(f, "169.254.255.2", "10.9.0.2");
	check_via(f, "fc00::e", "fd09::2");

	/* Somebody's own route stays as it is; ours goes with us, or stays for a successor. */
	lab_run("ip route replace 169.254.255.1 via 10.9.0.77");
	close_metal(f, true);
	check_via(f, "169.254.255.2", "10.9.0.2");
	assert_int_equal(open_wait(f, "node-a", 0), 0);
	check_via(f, "169.254.255.1", "10.9.0.77");
	close_metal(f, false);
	lab_run("! ip route get 169.254.255.2 2>/dev/null");
	check_via(f, "169.254.255.1", "10.9.0.77");
	lab_run("ip route del 169.254.255.1");
}

static void test_no_route_needed(void **state)
{
	struct fixture *f = *state;

	/* On the link, though said to be hops away; not multihop; no gateway known. */
	standin_set(&f->standin,
		    "{'devices':[" LAB_DEVICE("abc-1", "node-a",
					      "am6") "],'neighbours':{'abc-1':["
						     "{'customer_as':65000,'customer_ip':'10.9.0.1'"
						     ",'multihop':true,'peer_as':1,"
						     "'peer_ips':['10.9.0.2']},"
						     "{'customer_as':65000,'customer_ip':'10.9.0.1'"
						     ",'multihop':false,'peer_as':1,"
						     "'peer_ips':['192.0.2.1']},"
						     "{'customer_as':65000,'customer_ip':'10.9.0.9'"
						     ",'multihop':true,'peer_as':1,"
						     "'peer_ips':['192.0.2.2']}]}}");
	assert_int_equal(open_wait(f, "abc-1", 0), 0);
	lab_run("! ip route show table main proto %d | grep .", NET_PROTOCOL_SLB);
	assert_non_null(strstr(f->reports, "! BGP peer 192.0.2.2: no route to 192.0.2.2"));
	assert_null(strstr(f->reports, "! BGP peer 192.0.2.1"));
}

static void test_peers_change(void **state)
{
	struct fixture *f = *state;

	serve_lab(f);
	assert_int_equal(open_wait(f, "node-a", 200), 0);
	f->peers[0] = '\0';
	metal_turn(&f->loop, 500);
	assert_string_equal(f->peers, "");

	standin_set(&f->standin,
		    "{'neighbours':{'abc-1':[{'customer_as':65000,'customer_ip':'10.9.0.1',"
		    "'multihop':true,'peer_as':7,'peer_ips':['169.254.255.2','169.254.255.3']}]}}");
	metal_turn(&f->loop, 500);
	assert_string_equal(f->peers,
			    "-169.254.255.1\n-169.254.255.2\n-fc00::e\n"
			    "+169.254.255.2 as 7 from 10.9.0.1 as 65000 hops 5 password \n"
			    "+169.254.255.3 as 7 from 10.9.0.1 as 65000 hops 5 password \n");
	lab_run("! ip route get 169.254.255.1 2>/dev/null");
	check_via(f, "169.254.255.3", "10.9.0.2");

	/* An API that has lost its mind does not end sessions that work. */
	f->peers[0] = '\0';
	standin_set(&f->standin, "{'neighbours':{'abc-1':[]}}");
	metal_turn(&f->loop, 500);
	assert_non_null(strstr(f->reports, "(the peers known are kept)"));
	assert_string_equal(f->peers, "");
}

/* Each: what the API says, and the error of a start. */
static const struct {
	const char *told, *device;
	int error;
	const char *words;
} bad[] = {
	{ "'devices':[]", "node-a", -ENOENT, "no device called 'node-a' (it has: none at all)" },
	{ "'devices':[{'id':'x','hostname':'other'},{'id':'y','hostname':'more'}]", "node-a",
	  -ENOENT, "(it has: other, more); give the name or id of this node with --device" },
	{ "'devices':[{'id':'x','hostname':'a'},{'id':'y','hostname':'a'}]", "a", -ENOTUNIQ,
	  "2 devices called 'a'; give the id" },
	{ "'devices':[{'id':'../../x','hostname':'a'}]", "a", -EPROTO, "without a usable id" },
	{ "'devices':[7]", "a", -EPROTO, "without a usable id" },
	{ "'set':{'token':'another'}", "metal-1", -EACCES, "Invalid authentication token" },
	{ "'set':{'project':'another'}", "metal-1", -ENOENT, "answered 404: Not found" },
	{ "'fault':{'kind':'hang','seconds':1,'times':-1}", "metal-1", -ETIMEDOUT,
	  "no answer in time" },
	{ "'fault':{'status':200,'body':'{}','times':-1}", "metal-1", -EPROTO,
	  "no list 'devices'" },
	{ "'neighbours':{}", "metal-1", -ENOENT, "cannot find out the BGP neighbours of metal-1" },
	{ "'neighbours':{'" STANDIN_DEVICE "':[]}", "metal-1", -ENOENT, "switch BGP on" },
	{ "'neighbours':{'" STANDIN_DEVICE "':[{'customer_as':0,'peer_as':1}]}", "metal-1", -EPROTO,
	  "without a usable customer_as" },
	{ "'neighbours':{'" STANDIN_DEVICE "':[{'customer_as':1,'peer_as':1}]}", "metal-1", -EPROTO,
	  "without addresses (peer_ips)" },
	{ "'neighbours':{'" STANDIN_DEVICE "':[{'customer_as':1,'peer_as':1,'address_family':6,"
	  "'peer_ips':['192.0.2.1']}]}",
	  "metal-1", -EPROTO, "none of its family" },
	{ "'neighbours':{'" STANDIN_DEVICE "':[{'customer_as':1,'peer_as':1,'md5_enabled':true,"
	  "'peer_ips':['192.0.2.1']}]}",
	  "metal-1", -EPROTO, "with MD5, and not its password" },
};

static void test_bad_answers(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int error;

		standin_set(&f->standin, "{'reset':true}");
		standin_set(&f->standin, "{%s}", bad[i].told);
		error = open_wait(f, bad[i].device, 0);
		if (error != bad[i].error || strstr(f->err.text, bad[i].words) == NULL)
			fail_msg("%s: %d, %s", bad[i].told, error, f->err.text);
		assert_null(strstr(f->reports, STANDIN_TOKEN));
		assert_string_equal(f->peers, "");

		/* It goes on trying, says so once, and comes right when the API does. */
		metal_turn(&f->loop, 300);
		standin_set(&f->standin, "{'reset':true}");
		if (strcmp(bad[i].device, "metal-1") == 0 && strstr(bad[i].words, "BGP on") == NULL)
			metal_turn(&f->loop, 1500);
		if (strcmp(bad[i].device, "metal-1") == 0 && strstr(bad[i].words, "BGP on") == NULL)
			assert_non_null(strstr(f->peers, "+169.254.255.1 as 65530"));
		close_metal(f, false);
	}
}

static void test_which_device(void **state)
{
	struct equinix_metal_status status;
	struct fixture *f = *state;

	/* The same name in two facilities: the one of ours. */
	standin_set(&f->standin,
		    "{'set':{'page_size':1},'devices':["
		    "{'id':'x1','hostname':'a','facility':{'code':'ny5'}},"
		    "{'id':'x2','hostname':'a','facility':{'code':'am6'}},"
		    "{'id':'x3','hostname':'b','facility':'ny5'}],'neighbours':{"
		    "'x2':[" NEIGHBOUR4 "],'x3':[" NEIGHBOUR4 "],'x1':[" NEIGHBOUR4 "]}}");
	assert_int_equal(open_wait(f, "a", 0), 0);
	equinix_metal_status(f->metal, &status);
	assert_string_equal(status.device_id, "x2");
	close_metal(f, false);
	assert_int_equal(open_wait(f, "x1", 0), 0);
	equinix_metal_status(f->metal, &status);
	assert_string_equal(status.device_id, "x1");
	close_metal(f, false);
	assert_int_equal(open_wait(f, "b", 0), 0);
	assert_non_null(strstr(f->reports, "! b is in facility ny5, and addresses are reserved in "
					   "am6"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_peers_and_routes), TEST(test_no_route_needed), TEST(test_peers_change),
		TEST(test_bad_answers),      TEST(test_which_device),
	};

	return cmocka_run_group_tests(tests, net_lab_open, net_lab_close);
}
