/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * equinix_metal as an address source: every step of a reservation made to fail, and after each of
 * them nothing is left reserved at the stand-in.
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

#define ANSWERS_MAX 600

struct fixture {
	uv_loop_t loop;
	struct standin standin;
	struct equinix_metal *metal;
	struct address_source *source;
	bool closed;
	char reports[16384];
	struct errbuf err;
};

struct answer {
	unsigned int calls;
	int status;
	struct addr address;
	char text[ERRBUF_SIZE];
};

static void on_report(void *arg, bool trouble, const char *sentence)
{
	struct fixture *f = arg;
	size_t used = strlen(f->reports);

	snprintf(f->reports + used, sizeof(f->reports) - used, "%s%s\n", trouble ? "! " : "",
		 sentence);
}

static struct equinix_metal_config base_config(struct fixture *f)
{
	return (struct equinix_metal_config){
		.loop = &f->loop,
		.url = f->standin.url,
		.token = STANDIN_TOKEN,
		.project = STANDIN_PROJECT,
		.facility = "am6",
		.device = "metal-1",
		.report = on_report,
		.report_arg = f,
		.acquire_timeout_ms = 3000,
		.request_timeout_ms = 1200,
		.attempt_timeout_ms = 400,
		.connect_timeout_ms = 400,
		.backoff_ms = 20,
		.poll_ms = 50,
		.retry_ms = 100,
		.patience_ms = 1000,
	};
}

/* Opens, and is ready to serve: core has adopted nothing. */
static void open_metal(struct fixture *f)
{
	const struct equinix_metal_config config = base_config(f);

	f->reports[0] = '\0';
	assert_int_equal(equinix_metal_open(&config, &f->metal, &f->err), 0);
	f->source = equinix_metal_addresses(f->metal);
}

static void open_ready(struct fixture *f)
{
	open_metal(f);
	assert_int_equal(equinix_metal_wait(f->metal, &f->err), 0);
	equinix_metal_adopted(f->metal);
}

static void on_closed(void *arg)
{
	((struct fixture *)arg)->closed = true;
}

static bool is_closed(void *arg)
{
	return ((struct fixture *)arg)->closed;
}

static void close_metal(struct fixture *f)
{
	f->closed = false;
	equinix_metal_close(f->metal, false, on_closed, f);
	f->metal = NULL;
	assert_true(metal_turn_until(&f->loop, 5000, is_closed, f));
}

/* As after a SIGKILL: nothing is asked of the API any more. */
static void crash_metal(struct fixture *f)
{
	standin_set(&f->standin, "{'fault':{'method':'DELETE','times':-1,'status':500}}");
	close_metal(f);
	standin_set(&f->standin, "{'mend':true}");
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	uv_loop_init(&f->loop);
	standin_start(&f->standin, false);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->metal != NULL)
		close_metal(f);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	standin_check(&f->standin);
	standin_stop(&f->standin);
	free(f);
	return 0;
}

static void on_acquired(void *arg, int status, const struct addr *address, const struct errbuf *err)
{
	struct answer *answer = arg;

	answer->calls++;
	answer->status = status;
	if (status == 0)
		answer->address = *address;
	else
		snprintf(answer->text, sizeof(answer->text), "%s", err->text);
}

static bool is_answered(void *arg)
{
	return ((struct answer *)arg)->calls > 0;
}

static void begin(struct fixture *f, const uuid_t owner, struct answer *answer)
{
	static const struct addr any = { .family = AF_UNSPEC };

	memset(answer, 0, sizeof(*answer));
	f->source->ops->acquire(f->source, AF_INET, &any, owner, on_acquired, answer);
}

static void acquire(struct fixture *f, struct answer *answer)
{
	uuid_t owner;

	uuid_generate(owner);
	begin(f, owner, answer);
	assert_true(metal_turn_until(&f->loop, 10000, is_answered, answer));
	assert_int_equal(answer->calls, 1);
	assert_null(strstr(answer->text, STANDIN_TOKEN));
}

/* The stand-in is asked now and then: it costs a connection. */
static void turn_until_reserved(struct fixture *f, size_t wanted, uint64_t ms)
{
	for (uint64_t passed = 0; standin_reserved(&f->standin) != wanted; passed += 50) {
		if (passed > ms)
			fail_msg("%zu addresses are reserved, not %zu; %s",
				 standin_reserved(&f->standin), wanted, f->reports);
		metal_turn(&f->loop, 50);
	}
}

static void test_acquire_and_release(void **state)
{
	struct equinix_metal_status status;
	struct fixture *f = *state;
	struct answer first, second;
	json_t *json;

	open_ready(f);
	assert_non_null(strstr(f->reports, "Querying BGP settings for [metal-1]\n"));
	acquire(f, &first);
	acquire(f, &second);
	assert_int_equal(first.status, 0);
	assert_int_equal(second.status, 0);
	assert_false(addr_equal(&first.address, &second.address));
	json = standin_tell(&f->standin, "{}");
	assert_string_equal(
		json_string_value(json_array_get(
			json_object_get(json_array_get(json_object_get(json, "reservations"), 0),
					"tags"),
			1)),
		"slb-node:" STANDIN_DEVICE);
	json_decref(json);
	equinix_metal_status(f->metal, &status);
	assert_int_equal(status.held, 2);
	assert_string_equal(status.hostname, "metal-1");

	f->source->ops->release(f->source, &first.address);
	turn_until_reserved(f, 1, 3000);
	f->source->ops->release(f->source, &first.address); /* unknown by now */
	f->source->ops->release(f->source, &second.address);
	turn_until_reserved(f, 0, 3000);
	assert_int_equal(standin_requests(&f->standin, "DELETE"), 2);
}

static void test_refused_requests(void **state)
{
	struct addr wanted = { .family = AF_INET, .bytes = { 192, 0, 2, 1 } };
	struct fixture *f = *state;
	struct answer answer = { 0 };
	uuid_t owner = { 1 };

	open_ready(f);
	f->source->ops->acquire(f->source, AF_INET, &wanted, owner, on_acquired, &answer);
	assert_int_equal(answer.status, -EINVAL);
	assert_non_null(strstr(answer.text, "leave eip out"));
	wanted.family = AF_UNSPEC;
	f->source->ops->acquire(f->source, AF_INET6, &wanted, owner, on_acquired, &answer);
	assert_int_equal(answer.calls, 2);
	assert_int_equal(answer.status, -EINVAL);
	assert_int_equal(standin_requests(&f->standin, "POST"), 0);
}

/* Each: a step that fails, and what the person who creates a load balancer is told. */
static const struct {
	const char *told;
	int status;
	const char *words;
} steps[] = {
	{ "'set':{'pool_size':0}", -ENOSPC, "answered 422: There are no addresses left in am6" },
	{ "'fault':{'method':'POST','times':-1,'status':401,'body':'{}'}", -EIO, "token" },
	{ "'fault':{'method':'POST','times':-1,'status':429}", -EBUSY, "answered 429" },
	{ "'fault':{'method':'POST','times':-1,'status':500}", -EIO, "answered 500: told to fail" },
	{ "'fault':{'method':'POST','times':-1,'status':500,'act':true}", -EIO, "answered 500" },
	{ "'fault':{'method':'POST','times':-1,'status':503,'act':true}", -EIO, "answered 503" },
	{ "'fault':{'method':'POST','times':-1,'kind':'hang','seconds':1}", -ETIMEDOUT,
	  "no answer in time" },
	{ "'fault':{'method':'POST','times':-1,'kind':'hang','seconds':1,'act':true}", -ETIMEDOUT,
	  "no answer in time" },
	{ "'fault':{'method':'POST','times':-1,'kind':'drop','act':true}", -EIO, "ended early" },
	{ "'fault':{'method':'POST','times':-1,'kind':'half','act':true}", -EIO, "ended early" },
	{ "'fault':{'method':'POST','times':-1,'kind':'text','status':201,'body':'<p>','act':true}",
	  -EIO, "is not JSON (text/html)" },
	{ "'fault':{'method':'POST','times':-1,'kind':'text','status':201,'body':'','act':true}",
	  -EIO, "without a usable id" },
	{ "'fault':{'method':'POST','times':-1,'status':201,'body':'[1]','act':true}", -EIO,
	  "without a usable id" },
	{ "'fault':{'method':'POST','times':-1,'status':201,'body':'{#id#:#../x#}','act':true}",
	  -EIO, "without a usable id" },
	{ "'fault':{'method':'POST','times':-1,'status':201,"
	  "'body':'{#id#:#abc-1#}','act':true}",
	  -EIO, "did not say which" },
	{ "'fault':{'method':'POST','times':-1,'status':201,"
	  "'body':'{#id#:#abc-1#,#address#:#127.0.0.1#}','act':true}",
	  -EIO, "cannot be a VIP" },
	{ "'set':{'pending_lists':-1}", -ETIMEDOUT, "still pending after 3 s" },
	{ "'set':{'pending_lists':2,'denied':true}", -ENOSPC, "denied the reservation" },
	/* The list that a pending one is looked for in. */
	{ "'set':{'pending_lists':1},'fault':{'method':'GET','path':'ips','times':-1}", -ETIMEDOUT,
	  "still pending" },
};

static void test_each_step_fails(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		standin_set(&f->standin, "{'reset':true}");
		open_ready(f);
		on_report(f, false, steps[i].told);
		standin_set(&f->standin, "{%s}", steps[i].told);
		acquire(f, &answer);
		if (answer.status != steps[i].status ||
		    strstr(answer.text, steps[i].words) == NULL ||
		    strncmp(answer.text, "no address from Equinix Metal: ", 31) != 0)
			fail_msg("%s: %d, \"%s\"", steps[i].told, answer.status, answer.text);
		standin_set(&f->standin, "{'mend':true}");
		turn_until_reserved(f, 0, 5000);

		/* And the next one succeeds. */
		standin_set(&f->standin, "{'mend':true,'set':{'pool_size':99,'pending_lists':0}}");
		acquire(f, &answer);
		assert_int_equal(answer.status, 0);
		f->source->ops->release(f->source, &answer.address);
		turn_until_reserved(f, 0, 3000);
		standin_check(&f->standin);
		close_metal(f);
	}
}

/* The server is at work on a request whose answer nobody waits for any more. */
static void test_reserved_after_time_out(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	open_ready(f);
	standin_set(&f->standin, "{'fault':{'method':'POST','kind':'drop'}}");
	acquire(f, &answer);
	assert_int_equal(answer.status, -EIO);
	metal_turn(&f->loop, 500);
	standin_set(&f->standin, "{'reserve':[{'address':'147.75.32.99','tags':["
				 "'slb:11111111-2222-4333-8444-555555555555','slb-node:" //
		    STANDIN_DEVICE "']}]}");
	turn_until_reserved(f, 0, 5000); /* by the second look, after two seconds */
	assert_non_null(strstr(f->reports, "Giving back the address 147.75.32.99: it was reserved "
					   "for load balancer 11111111-"));
}

static void test_pending(void **state)
{
	struct answer answers[3];
	struct fixture *f = *state;
	uuid_t owner;

	standin_set(&f->standin, "{'set':{'pending_lists':3}}");
	open_ready(f);
	for (int i = 0; i < 3; i++) {
		uuid_generate(owner);
		begin(f, owner, &answers[i]);
	}
	for (int i = 0; i < 3; i++) {
		assert_true(metal_turn_until(&f->loop, 5000, is_answered, &answers[i]));
		assert_int_equal(answers[i].status, 0);
		assert_int_equal(answers[i].address.family, AF_INET);
	}
	assert_int_equal(standin_reserved(&f->standin), 3);
}

static void test_retry_after(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	open_ready(f);
	standin_set(&f->standin, "{'fault':{'method':'POST','status':429,"
				 "'headers':{'Retry-After':'1'}}}");
	acquire(f, &answer);
	assert_int_equal(answer.status, 0);
	assert_int_equal(standin_requests(&f->standin, "POST"), 2);
}

/* A DELETE that fails is done again until it is done. */
static void test_release_fails(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	open_ready(f);
	acquire(f, &answer);
	standin_set(&f->standin, "{'fault':{'method':'DELETE','times':-1,'status':500}}");
	f->source->ops->release(f->source, &answer.address);
	metal_turn(&f->loop, 2000);
	assert_int_equal(standin_reserved(&f->standin), 1);
	assert_non_null(strstr(f->reports, "! cannot give back the address 147.75.32.1: "));
	standin_set(&f->standin, "{'mend':true}");
	turn_until_reserved(f, 0, 5000);

	/* Done, and the answer gets lost: 404 the second time is as good. */
	acquire(f, &answer);
	standin_set(&f->standin, "{'fault':{'method':'DELETE','kind':'drop','act':true}}");
	f->source->ops->release(f->source, &answer.address);
	turn_until_reserved(f, 0, 3000);
	metal_turn(&f->loop, 300);
	assert_true(standin_requests(&f->standin, "DELETE") >= 3);
}

static void test_crash_before_store(void **state)
{
	struct addr kept, foreign = { .family = AF_INET, .bytes = { 198, 51, 100, 7 } };
	struct equinix_metal_status status;
	struct fixture *f = *state;
	struct answer first, second;
	uuid_t owner = { 7 };

	open_ready(f);
	acquire(f, &first);
	acquire(f, &second);
	kept = first.address;
	crash_metal(f); /* the store knows the first only */
	standin_set(&f->standin,
		    "{'reserve':[{'address':'147.75.40.1','tags':['mine']},"
		    "{'address':'147.75.40.2','tags':["
		    "'slb:11111111-2222-4333-8444-555555555555','slb-node:another']},"
		    "{'address':'147.75.40.3','tags':['slb-node:" STANDIN_DEVICE "']}]}");
	assert_int_equal(standin_reserved(&f->standin), 5);

	open_metal(f);
	assert_int_equal(f->source->ops->adopt(f->source, &kept, owner, &f->err), 0);
	assert_int_equal(f->source->ops->adopt(f->source, &kept, owner, &f->err), 0);
	assert_int_equal(f->source->ops->adopt(f->source, &foreign, owner, &f->err), 0);
	metal_turn(&f->loop, 500);
	assert_int_equal(standin_reserved(&f->standin), 5); /* core has not said that it is done */
	equinix_metal_adopted(f->metal);
	turn_until_reserved(f, 4, 3000);
	metal_turn(&f->loop, 300);
	assert_int_equal(standin_reserved(&f->standin), 4);
	assert_non_null(strstr(f->reports, "! VIP 198.51.100.7 is not among"));
	equinix_metal_status(f->metal, &status);
	assert_int_equal(status.held, 2);

	/* What was adopted is given back by its id, the one that nobody reserved quietly not. */
	f->source->ops->release(f->source, &kept);
	f->source->ops->release(f->source, &foreign);
	turn_until_reserved(f, 3, 3000);
	metal_turn(&f->loop, 300);
	equinix_metal_status(f->metal, &status);
	assert_int_equal(status.held, 0);
	assert_int_equal(status.releasing, 0);
	assert_int_equal(standin_reserved(&f->standin), 3); /* others' */
}

/* Adopted, and released before its id was known. */
static void test_release_while_unidentified(void **state)
{
	struct fixture *f = *state;
	struct answer answer;
	uuid_t owner = { 7 };

	open_ready(f);
	acquire(f, &answer);
	crash_metal(f);
	standin_set(&f->standin,
		    "{'fault':{'path':'devices','times':1,'status':500,'seconds':0.3}}");
	open_metal(f);
	assert_int_equal(f->source->ops->adopt(f->source, &answer.address, owner, &f->err), 0);
	f->source->ops->release(f->source, &answer.address);
	turn_until_reserved(f, 0, 5000);
}

/* Thousands, on pages, of which a few are ours; in every way the next page may be named. */
static void test_thousands(void **state)
{
	static const char *const hrefs[] = { "below", "path", "absolute" };
	struct fixture *f = *state;
	struct answer answer;

	for (int batch = 0; batch < 5; batch++) {
		size_t length = 0;
		char *text = NULL;
		FILE *stream = open_memstream(&text, &length);

		for (int i = 0; i < 1000; i++)
			fprintf(stream, "%s{'address':'10.%d.%d.%d','tags':['other']}",
				i > 0 ? "," : "", batch, i / 250, i % 250);
		fclose(stream);
		standin_set(&f->standin, "{'reserve':[%s]}", text);
		free(text);
	}
	for (size_t i = 0; i < 3; i++) {
		standin_set(&f->standin, "{'set':{'pool_size':9999,'page_size':100,'href':'%s'}}",
			    hrefs[i]);
		open_ready(f);
		acquire(f, &answer);
		assert_int_equal(answer.status, 0);
		crash_metal(f);
		assert_int_equal(standin_reserved(&f->standin), 5001);
		open_ready(f); /* the store knows nothing */
		turn_until_reserved(f, 5000, 20000);
		close_metal(f);
	}
}

static void test_bad_pages(void **state)
{
	static const char *const hrefs[] = { "elsewhere", "itself" };
	static const char *const words[] = { "leads to another host: http://elsewhere.example",
					     "a page that follows itself" };
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		char *tags =
			"'slb:11111111-2222-4333-8444-555555555555','slb-node:" STANDIN_DEVICE "'";

		standin_set(&f->standin,
			    "{'reset':true,'set':{'page_size':1,'href':'%s'},'reserve':["
			    "{'address':'10.0.0.1','tags':[%s]},{'address':'10.0.0.2'},"
			    "{'address':'10.0.0.3'}]}",
			    hrefs[i], tags);
		open_ready(f);
		metal_turn(&f->loop, 600);
		if (strstr(f->reports, words[i]) == NULL)
			fail_msg("%s: %s", hrefs[i], f->reports);
		/* Half a list is no ground to give anything back. */
		assert_int_equal(standin_reserved(&f->standin), 3);
		close_metal(f);
	}
}

/* Creates that come while it is not known yet which device the node is. */
static void test_acquire_before_node(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	standin_set(&f->standin, "{'fault':{'path':'devices','times':-1,'status':503}}");
	open_metal(f);
	equinix_metal_adopted(f->metal);
	acquire(f, &answer);
	assert_int_equal(answer.status, -EIO);
	assert_non_null(strstr(answer.text, "cannot find this node (metal-1) in the project"));
	standin_set(&f->standin, "{'mend':true}");
	acquire(f, &answer);
	assert_int_equal(answer.status, 0);
}

static void test_stop_under_way(void **state)
{
	struct answer asked, pending, held;
	struct fixture *f = *state;
	uuid_t owner = { 1 };

	open_ready(f);
	acquire(f, &held);
	standin_set(&f->standin, "{'set':{'pending_lists':-1}}");
	begin(f, owner, &pending);
	metal_turn(&f->loop, 300);
	standin_set(&f->standin, "{'fault':{'method':'POST','kind':'status','status':201,"
				 "'body':'{#id#:#abc#,#state#:#pending#}',"
				 "'seconds':0.2}}");
	begin(f, owner, &asked);
	f->source->ops->release(f->source, &held.address);
	metal_turn(&f->loop, 50);
	close_metal(f);
	assert_int_equal(pending.status, -ECANCELED);
	assert_int_equal(asked.status, -ECANCELED);
	assert_int_equal(pending.calls + asked.calls, 2);
	/* The held one and the pending one are given back, the late one was too. */
	assert_int_equal(standin_reserved(&f->standin), 0);
	assert_int_equal(standin_requests(&f->standin, "DELETE"), 3);
}

/* A server that answers nothing does not keep slb from ending. */
static void test_stop_in_time(void **state)
{
	struct answer answer;
	struct fixture *f = *state;
	uint64_t began_ms;
	uuid_t owner = { 1 };

	open_ready(f);
	standin_set(&f->standin, "{'fault':{'times':-1,'kind':'hang','seconds':5}}");
	begin(f, owner, &answer);
	metal_turn(&f->loop, 50);
	began_ms = uv_now(&f->loop);
	close_metal(f);
	assert_int_equal(answer.status, -ECANCELED);
	assert_true(uv_now(&f->loop) - began_ms < 2000);
}

static void test_bad_config(void **state)
{
	struct equinix_metal_config config;
	struct fixture *f = *state;
	struct {
		const char **member;
		const char *value, *words;
	} bad[] = {
		{ &config.project, NULL, "needs --project" },
		{ &config.project, "../x", "given by its id" },
		{ &config.facility, NULL, "--facility" },
		{ &config.token, "", "token" },
		{ &config.token, "a\r\nb", "token" },
		{ &config.url, "ftp://a/", "must be such as https://" },
		{ &config.url, "https://me:pw@a/", "must be such as https://" },
		{ &config.url, "https://a/?x=1", "must be such as https://" },
		{ &config.url, "a", "must be such as https://" },
		{ &config.url, "", "must be such as https://" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		config = base_config(f);
		*bad[i].member = bad[i].value;
		assert_int_equal(equinix_metal_open(&config, &f->metal, &f->err), -EINVAL);
		if (strstr(f->err.text, bad[i].words) == NULL)
			fail_msg("%s: %s", bad[i].value, f->err.text);
	}
	config = base_config(f);
	config.token = NULL;
	unsetenv("PACKET_AUTH_TOKEN");
	setenv("METAL_AUTH_TOKEN", "", 1);
	assert_int_equal(equinix_metal_open(&config, &f->metal, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "set PACKET_AUTH_TOKEN or METAL_AUTH_TOKEN"));
	setenv("METAL_AUTH_TOKEN", "second", 1);
	assert_string_equal(equinix_metal_token(), "second");
	setenv("PACKET_AUTH_TOKEN", "first", 1);
	assert_string_equal(equinix_metal_token(), "first");
	f->metal = NULL;
}

/* Many creates and deletes at once. */
static void test_load(void **state)
{
	struct answer *answers = calloc(ANSWERS_MAX, sizeof(*answers));
	struct fixture *f = *state;
	uuid_t owner;

	standin_set(&f->standin, "{'set':{'page_size':100}}");
	open_ready(f);
	for (size_t i = 0; i < ANSWERS_MAX; i++) {
		uuid_generate(owner);
		begin(f, owner, &answers[i]);
	}
	for (size_t i = 0; i < ANSWERS_MAX; i++) {
		assert_true(metal_turn_until(&f->loop, 30000, is_answered, &answers[i]));
		if (answers[i].status == 0)
			f->source->ops->release(f->source, &answers[i].address);
	}
	turn_until_reserved(f, 0, 30000);
	free(answers);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_acquire_and_release),
		TEST(test_refused_requests),
		TEST(test_each_step_fails),
		TEST(test_reserved_after_time_out),
		TEST(test_pending),
		TEST(test_retry_after),
		TEST(test_release_fails),
		TEST(test_crash_before_store),
		TEST(test_release_while_unidentified),
		TEST(test_thousands),
		TEST(test_bad_pages),
		TEST(test_acquire_before_node),
		TEST(test_stop_under_way),
		TEST(test_stop_in_time),
		TEST(test_bad_config),
		TEST(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
