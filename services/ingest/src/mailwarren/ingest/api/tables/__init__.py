"""The endpoints, a module for each resource, in one table: the router and the OpenAPI document are made from it."""

from mailwarren.ingest.api.tables import api_keys, emails, operating

ENDPOINTS = (*emails.ENDPOINTS, *api_keys.ENDPOINTS, *operating.ENDPOINTS)
