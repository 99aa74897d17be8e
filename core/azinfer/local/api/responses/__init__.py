"""The Responses API: answered by the steps of `azinfer.local.api.chat`, with items instead."""
