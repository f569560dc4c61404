"""Apple's Messages (`chat.db`) and Contacts (`AddressBook-v22.abcddb`)."""
