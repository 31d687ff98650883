/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * handlers: one function per route, named in the route table and called by nobody else. A handler
 * decodes, asks core, and encodes what core answers; it knows neither sockets nor libmicrohttpd.
 */
#ifndef SLB_API_HANDLERS_H
#define SLB_API_HANDLERS_H

#include "api/routes.h"

/* handle_load_balancer.c */
route_handler handle_load_balancer_create;
route_handler handle_load_balancer_list;
route_handler handle_load_balancer_get;
route_handler handle_load_balancer_update;
route_handler handle_load_balancer_delete;

/* handle_backend.c */
route_handler handle_backend_create;
route_handler handle_backend_get;
route_handler handle_backend_update;
route_handler handle_backend_delete;

/* handle_node.c */
route_handler handle_capabilities;
route_handler handle_status;
route_handler handle_healthz;
route_handler handle_version;

/* handle_bgp.c */
route_handler handle_bgp_peer_list;
route_handler handle_bgp_peer_create;
route_handler handle_bgp_peer_get;
route_handler handle_bgp_peer_delete;

/* handle_metrics.c */
route_handler handle_metrics;

#endif
