"""The endpoints of ``/v1/topics``."""

from mailwarren.ingest.api import topics
from mailwarren.ingest.api.answers.topics import TopicDeleted, TopicList, TopicNamed, TopicShown
from mailwarren.ingest.api.endpoint import CHANGING, DELETING, MAKING, PAGE, READING, Endpoint
from mailwarren.ingest.domain.topics import TopicBody, TopicChange

ENDPOINTS = (
    Endpoint(
        "create_topic",
        path="/v1/topics",
        summary="Make a topic",
        handler=topics.create,
        request=TopicBody,
        answer=TopicNamed,
        **MAKING,
    ),
    Endpoint(
        "list_topics",
        path="/v1/topics",
        summary="List topics, newest first",
        handler=topics.read_list,
        answer=TopicList,
        query=PAGE,
        **READING,
    ),
    Endpoint(
        "read_topic",
        path="/v1/topics/{id}",
        summary="Read a topic",
        handler=topics.read,
        answer=TopicShown,
        **READING,
    ),
    Endpoint(
        "update_topic",
        path="/v1/topics/{id}",
        summary="Change a topic",
        handler=topics.update,
        request=TopicChange,
        answer=TopicNamed,
        description="`default_subscription` cannot be changed: it would change what people have agreed to.",
        **CHANGING,
    ),
    Endpoint(
        "delete_topic",
        path="/v1/topics/{id}",
        summary="Delete a topic",
        handler=topics.delete,
        answer=TopicDeleted,
        description="With what contacts chose about it.",
        **DELETING,
    ),
)
