"""Drafts, which clients call responses. A draft has one id: of its row, its job and its events.

`routes` → `service.begin` stores the row and reads the prompt. If somebody waits, `service` asks the model at once, and `streaming`
passes on its words. Else `queueing` stores what the model is to be asked for, and asks the ML service for a job with the draft's id;
`results` reads what the ML service says of jobs, and asks for what got lost. Both complete or close the row with the same statements of
`queries`, and tell the account's readers what these return (`service.events_of`). `feedback` makes a sample of what the owner does with
a draft; `forgetting` takes out what was made from messages that go.
"""
